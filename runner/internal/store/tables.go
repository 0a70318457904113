package store

// table says how a resource is kept and read.
type table struct {
	name   string   // in the database
	key    []string // the columns that identify a row, and order rows
	id     string   // the field that is made of them
	fields map[string]field
	// drivers are conditions that an index answers, the most selective first.
	// Without one, rows are read in the order of their key.
	drivers []driver
}

// driver is a condition of equality with an index.
type driver struct {
	field string
	only  any      // the only value for which there is an index; nil: all
	with  []string // fields of further columns of the index
	// weak: so many rows may have the value that an order with an index goes first.
	weak bool
	// key is a column that orders the rows of one value as ids do, and is the
	// index's next one; "": the id is.
	key string
}

// Names of results, states and the like are the numbers of package build and of
// this package. What has no meaning here is a constant, so that it can be asked
// for as in Buildbot.

var buildTable = table{
	name: "builds", key: []string{"id"}, id: "buildid",
	fields: map[string]field{
		"buildid":          {kind: number, sql: "id"},
		"number":           {kind: number, sql: "number"},
		"builderid":        {kind: named, sql: "builder", names: "builders", total: "builds.builder", totalSQL: "value"},
		"builder":          {kind: text, sql: "builder", total: "builds.builder", totalSQL: "value"},
		"buildrequestid":   {kind: number, sql: "request"},
		"workerid":         {kind: named, sql: "worker", names: "workers", total: "builds.worker", totalSQL: "value"},
		"worker":           {kind: text, sql: "worker", total: "builds.worker", totalSQL: "value"},
		"masterid":         {kind: number, sql: "1", fixed: true},
		"attempt":          {kind: number, sql: "attempt"},
		"started_at":       {kind: moment, sql: "started", none: int64(0), indexed: true},
		"complete":         {kind: boolean, sql: "result", yes: "$ > -1", no: "$ = -1", total: "builds.result", totalSQL: "CAST(value AS INTEGER)"},
		"complete_at":      {kind: moment, sql: "completed", none: int64(0), indexed: true},
		"locks_duration_s": {kind: number, sql: "0", fixed: true},
		"results":          {kind: number, sql: "result", none: noResult, total: "builds.result", totalSQL: "CAST(value AS INTEGER)"},
		"state_string":     {kind: text, sql: "text"},
		"cause":            {kind: text, sql: "cause", none: ""},
		"peak_memory":      {kind: number, sql: "peak_memory", none: int64(0)},
		"kept":             {kind: text, sql: "kept", none: ""},
	},
	drivers: []driver{
		{field: "buildid"},
		{field: "buildrequestid"},
		{field: "complete", only: false},
		{field: "builderid", with: []string{"number"}, key: "number"},
		{field: "builder", with: []string{"number"}, key: "number"},
		{field: "workerid", with: []string{"buildid"}},
		{field: "worker", with: []string{"buildid"}},
		{field: "results", with: []string{"buildid"}, weak: true},
	},
}

var requestTable = table{
	name: "requests", key: []string{"id"}, id: "buildrequestid",
	fields: map[string]field{
		"buildrequestid": {kind: number, sql: "id"},
		"buildsetid":     {kind: number, sql: "id"}, // a buildset has one request
		"bsid":           {kind: number, sql: "id"},
		"builderid":      {kind: named, sql: "builder", names: "builders", total: "requests.builder", totalSQL: "value"},
		"builder":        {kind: text, sql: "builder", total: "requests.builder", totalSQL: "value"},
		"priority":       {kind: number, sql: "priority"},
		"claimed":        {kind: boolean, sql: "state", yes: "$ > 0", no: "$ = 0 AND $ < 2", total: "requests.state", totalSQL: "CAST(value AS INTEGER)"},
		"complete":       {kind: boolean, sql: "state", yes: "$ = 2", no: "$ < 2", total: "requests.state", totalSQL: "CAST(value AS INTEGER)"},
		"results":        {kind: number, sql: "result"}, // -1 while it is open
		"submitted_at":   {kind: moment, sql: "submitted", none: int64(0)},
		"complete_at":    {kind: moment, sql: "completed", none: int64(0)},
		"waited_for":     {kind: boolean, sql: "0", yes: "0", no: "1", fixed: true},
		"reason":         {kind: text, sql: "reason"},
		"worker":         {kind: text, sql: "worker", none: ""},
		"attempts":       {kind: number, sql: "attempts"},
		"retries":        {kind: number, sql: "retries"},
		"replaced_by":    {kind: number, sql: "replaced", none: int64(0)},
		"state_string":   {kind: text, sql: "text"},
	},
	drivers: []driver{
		{field: "buildrequestid"},
		{field: "buildsetid"},
		{field: "bsid"},
		{field: "claimed", only: false, with: []string{"buildrequestid"}},
		{field: "complete", only: false, with: []string{"buildrequestid"}},
		{field: "builderid", with: []string{"buildrequestid"}},
		{field: "builder", with: []string{"buildrequestid"}},
	},
}

var stepTable = table{
	name: "steps", key: []string{"build", "number"}, id: "stepid",
	fields: map[string]field{
		"stepid":            {kind: pair, sql: "build", second: "number"},
		"buildid":           {kind: number, sql: "build"},
		"number":            {kind: number, sql: "number"},
		"name":              {kind: text, sql: "name"},
		"started_at":        {kind: moment, sql: "started", none: int64(0)},
		"locks_acquired_at": {kind: moment, sql: "NULL", fixed: true},
		"complete":          {kind: boolean, sql: "result", yes: "$ > -1", no: "$ = -1"},
		"complete_at":       {kind: moment, sql: "completed", none: int64(0)},
		"results":           {kind: number, sql: "result", none: noResult},
		"state_string":      {kind: text, sql: "text"},
		"hidden":            {kind: boolean, sql: "hidden", yes: "$ = 1", no: "$ = 0"},
	},
	drivers: []driver{{field: "stepid"}, {field: "buildid", with: []string{"number", "stepid"}}},
}

var logTable = table{
	name: "logs", key: []string{"id"}, id: "logid",
	fields: map[string]field{
		"logid":     {kind: number, sql: "id"},
		"buildid":   {kind: number, sql: "build"},
		"stepid":    {kind: pair, sql: "build", second: "step"},
		"name":      {kind: text, sql: "name"},
		"complete":  {kind: boolean, sql: "complete", yes: "$ = 1", no: "$ = 0"},
		"num_lines": {kind: number, sql: "lines"},
		"bytes":     {kind: number, sql: "bytes"},
		"truncated": {kind: boolean, sql: "truncated", yes: "$ = 1", no: "$ = 0"},
	},
	drivers: []driver{{field: "logid"}, {field: "stepid"}, {field: "buildid", with: []string{"logid", "stepid"}}},
}

var workerTable = table{
	name: "workers", key: []string{"id"}, id: "workerid",
	fields: map[string]field{
		"workerid":      {kind: number, sql: "id"},
		"name":          {kind: text, sql: "name"},
		"kind":          {kind: text, sql: "kind"},
		"configured_at": {kind: moment, sql: "configured", none: int64(0)},
		"removed_at":    {kind: moment, sql: "removed", none: int64(0)},
		"last_seen":     {kind: moment, sql: "last_seen", none: int64(0)},
	},
	drivers: []driver{{field: "workerid"}, {field: "name"}},
}

var builderTable = table{
	name: "builders", key: []string{"id"}, id: "builderid",
	fields: map[string]field{
		"builderid":     {kind: number, sql: "id"},
		"name":          {kind: text, sql: "name"},
		"description":   {kind: text, sql: "description", none: ""},
		"tags":          {kind: list, sql: "tags"},
		"configured_at": {kind: moment, sql: "configured", none: int64(0)},
		"removed_at":    {kind: moment, sql: "removed", none: int64(0)},
	},
	drivers: []driver{{field: "builderid"}, {field: "name"}},
}

var schedulerTable = table{
	name: "schedulers", key: []string{"id"}, id: "schedulerid",
	fields: map[string]field{
		"schedulerid": {kind: number, sql: "id"},
		"name":        {kind: text, sql: "name"},
		"enabled":     {kind: boolean, sql: "enabled", yes: "$ = 1", no: "$ = 0"},
	},
	drivers: []driver{{field: "schedulerid"}, {field: "name"}},
}

var mailTable = table{
	name: "mails", key: []string{"id"}, id: "mailid",
	fields: map[string]field{
		"mailid":     {kind: number, sql: "id"},
		"key":        {kind: text, sql: "key"},
		"kind":       {kind: text, sql: "kind"},
		"worker":     {kind: text, sql: "worker", none: ""},
		"buildid":    {kind: number, sql: "build", none: int64(0)},
		"recipient":  {kind: text, sql: "recipient"},
		"created_at": {kind: moment, sql: "created", none: int64(0)},
		"not_before": {kind: moment, sql: "not_before", none: int64(0)},
		"next_try":   {kind: moment, sql: "next_try", none: int64(0)},
		"done":       {kind: boolean, sql: "done", yes: "$ <> 0", no: "$ = 0"},
		"done_at":    {kind: moment, sql: "done", none: int64(0)},
		"state":      {kind: number, sql: "state"},
		"attempts":   {kind: number, sql: "attempts"},
		"message_id": {kind: text, sql: "message_id", none: ""},
		"error":      {kind: text, sql: "error", none: ""},
	},
	drivers: []driver{
		{field: "mailid"},
		{field: "key"},
		{field: "done", only: false, with: []string{"mailid"}},
		{field: "buildid", with: []string{"mailid"}},
		{field: "worker", with: []string{"mailid"}},
	},
}

var journalTable = table{
	name: "journal", key: []string{"id"}, id: "entryid",
	fields: map[string]field{
		"entryid": {kind: number, sql: "id"},
		"time":    {kind: moment, sql: "time"},
		"kind":    {kind: text, sql: "kind"},
		"name":    {kind: text, sql: "name"},
		"ref":     {kind: number, sql: "ref", none: int64(0)},
		"buildid": {kind: number, sql: "build", none: int64(0)},
		"what":    {kind: text, sql: "what"},
		"who":     {kind: text, sql: "who", none: ""},
		"reason":  {kind: text, sql: "reason", none: ""},
	},
	drivers: []driver{
		{field: "entryid"},
		{field: "buildid", with: []string{"entryid"}},
		{field: "ref", with: []string{"entryid"}},
		{field: "name", with: []string{"entryid"}},
	},
}
