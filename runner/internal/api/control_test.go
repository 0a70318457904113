package api

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"bothy/runner/build"
	"bothy/runner/config"
	"bothy/runner/internal/engine"
)

// rpcReply is the whole answer to a JSON-RPC request.
type rpcReply struct {
	JSONRPC string
	ID      json.RawMessage
	Result  json.RawMessage
	Error   *struct {
		Code    int
		Message json.RawMessage
	}
}

func (p reply) rpc() (a rpcReply) {
	p.t.Helper()
	if err := json.Unmarshal(p.body, &a); err != nil || a.JSONRPC != "2.0" {
		p.t.Fatalf("%v in %s", err, p.body)
	}
	return a
}

// failed checks an error's status, code and message.
func (p reply) failed(status, code int, message string) {
	p.t.Helper()
	a := p.rpc()
	if p.status != status || a.Error == nil || a.Error.Code != code || !strings.Contains(string(a.Error.Message), message) {
		p.t.Errorf("%d %s, want %d, code %d, %s", p.status, p.body, status, code, message)
	}
}

// is checks a result.
func (p reply) is(result string) {
	p.t.Helper()
	a := p.rpc()
	if p.status != http.StatusOK || string(a.Result) != result || string(a.ID) != "7" {
		p.t.Errorf("%d %s, want the result %s", p.status, p.body, result)
	}
}

func TestRPCForm(t *testing.T) {
	r := newRig(t, basic())
	const path = "/api/v2/workers/1"
	for body, want := range map[string]struct {
		code int
		text string
	}{
		`{`:                                  {codeParse, "JSON parse error"},
		``:                                   {codeParse, "JSON parse error"},
		`[]`:                                 {codeInvalidRequest, "batch requests are not supported"},
		`[{}]`:                               {codeInvalidRequest, "batch requests are not supported"},
		`"x"`:                                {codeInvalidRequest, "must be an object"},
		`null`:                               {codeInvalidRequest, "must be an object"},
		`{}`:                                 {codeInvalidRequest, "missing key 'jsonrpc'"},
		`{"jsonrpc":"2.0"}`:                  {codeInvalidRequest, "missing key 'method'"},
		`{"jsonrpc":"2.0","method":"pause"}`: {codeInvalidRequest, "missing key 'id'"},
		`{"jsonrpc":"2.0","method":"pause","id":1}`:                       {codeInvalidRequest, "missing key 'params'"},
		`{"jsonrpc":2,"method":"pause","id":1,"params":{}}`:               {codeInvalidRequest, "'jsonrpc' must be a string"},
		`{"jsonrpc":"1.0","method":"pause","id":1,"params":{}}`:           {codeInvalidRequest, "only JSONRPC 2.0"},
		`{"jsonrpc":"2.0","method":null,"id":1,"params":{}}`:              {codeInvalidRequest, "'method' must be a string"},
		`{"jsonrpc":"2.0","method":"pause","id":[],"params":{}}`:          {codeInvalidRequest, "'id' must be"},
		`{"jsonrpc":"2.0","method":"pause","id":1.5,"params":{}}`:         {codeInvalidRequest, "'id' must be"},
		`{"jsonrpc":"2.0","method":"pause","id":true,"params":{}}`:        {codeInvalidRequest, "'id' must be"},
		`{"jsonrpc":"2.0","method":"pause","id":1,"params":[]}`:           {codeInvalidRequest, "'params' must be an object"},
		`{"jsonrpc":"2.0","method":"pause","id":1,"params":null}`:         {codeInvalidRequest, "'params' must be an object"},
		`{"jsonrpc":"2.0","method":"pause","id":1,"params":{"reasn":1}}`:  {codeInvalidParams, "there is no parameter 'reasn', only: reason"},
		`{"jsonrpc":"2.0","method":"pause","id":1,"params":{"reason":1}}`: {codeInvalidParams, "'reason' must be a text"},
	} {
		r.do("POST", path, []byte(body)).failed(400, want.code, want.text)
	}
	for _, id := range []string{`"x"`, `null`, `-3`} {
		a := r.do("POST", path, []byte(`{"jsonrpc":"2.0","method":"unpause","id":`+id+`,"params":{"owner":"eve"}}`)).want(200).rpc()
		if string(a.ID) != id {
			t.Errorf("id %s came back as %s", id, a.ID)
		}
	}
	for _, typ := range []string{"text/plain", "application/x-www-form-urlencoded", "", "x"} {
		r.do("POST", path, []byte(`{}`), func(q *http.Request) { q.Header.Set("Content-Type", typ) }).failed(400, codeInvalidRequest, "Invalid content-type")
	}
	r.do("POST", path, []byte(`{}`), func(q *http.Request) { q.Header.Set("Content-Type", "application/json; charset=utf-8") }).failed(400, codeInvalidRequest, "missing key")
	r.do("POST", path, make([]byte, maxBody+1)).failed(413, codeInvalidRequest, "larger than")
	r.call("nowhere", "x", "{}").failed(404, codeInvalidRequest, "Invalid path: nowhere")
	r.call("workers", "pause", "{}").failed(501, codeNoMethod, "action: pause is not supported")
	r.call("workers/1", "fly", "{}").failed(501, codeNoMethod, "action: fly is not supported")
	r.call("buildrequests/1", "fly", "{}").failed(501, codeNoMethod, "action: fly is not supported")
}

// What can be done to a worker has been done when the answer comes.
func TestControlWorker(t *testing.T) {
	r := newRig(t, basic())
	for _, step := range []struct{ path, action, params, want string }{
		{"workers/1", "pause", `{"reason":"new disk"}`, `"pause_reason":"new disk","paused":true`},
		{"workers/w1", "unpause", `{}`, `"pause_reason":null,"paused":false`},
		{"builders/test/workers/w1", "stop", `{"reason":"night"}`, `"link":"stopped"`},
		{"masters/1/workers/1", "start", `{}`, `"link":"connected"`},
		{"workers/1", "kill", `{"reason":"hangs"}`, `"link":"stopped"`},
		{"workers/1", "start", `{}`, `"connected":true`},
	} {
		r.call(step.path, step.action, step.params).is("null")
		r.get("workers/1").want(200, step.want)
	}
	r.call("workers/99", "pause", `{}`).failed(404, codeInvalidRequest, "there is no worker 99")
	r.call("workers/none", "pause", `{}`).failed(404, codeInvalidRequest, "there is no worker")
	r.call("workers/1", "pause", fmt.Sprintf(`{"reason":%q}`, strings.Repeat("x", maxReason+1))).failed(400, codeInvalidParams, "more than")
}

// A busy local worker that is killed has no build when the answer comes.
func TestKillBusyWorker(t *testing.T) {
	conf := basic()
	conf.Workers = []config.Worker{{Name: "w1"}}
	r := newRig(t, conf)
	r.build("hold")
	r.holds("hold")
	r.call("workers/w1", "kill", `{}`).is("null")
	if got := r.get("builds/1").one("builds"); got["results"] != float64(build.Retry) || got["complete"] != true {
		t.Errorf("its build is %v", got)
	}
	if got := r.get("buildrequests/1").one("buildrequests"); got["state"] != "pending" || got["claimed"] != false {
		t.Errorf("its request is %v", got)
	}
}

func TestControlBuild(t *testing.T) {
	r := newRig(t, basic())
	r.build("hold")
	r.holds("hold")
	r.call("builders/2/builds/1", "stop", `{"reason":"enough"}`).is("null")
	if got := r.get("builds/1").one("builds"); got["results"] != float64(build.Cancelled) || !strings.Contains(fmt.Sprint(got["state_string"]), "enough") {
		t.Errorf("the stopped build is %v", got)
	}
	r.call("builds/1", "stop", `{}`).failed(409, codeServer, "it has ended")
	r.call("builds/99", "stop", `{}`).failed(404, codeInvalidRequest, "there is no build 99")

	r.call("builders/test", "force", `{"properties":{"x":"y"},"branch":"main","reason":"first"}`).is(`[2,{"1":2}]`)
	waitDone(t, r, 2)
	r.call("builds/2", "rebuild", `{}`).is(`[3,{"1":3}]`)
	waitDone(t, r, 3)
	r.get("builds/3?property=x&property=branch&field=properties").want(200, `{"branch":["main","Build"],"x":["y","Force Build Form"]}`)
	r.get("buildsets/3").want(200, `"branch":"main"`, `"reason":"rebuild of test #1"`)
	r.call("builds/99", "rebuild", `{}`).failed(404, codeInvalidRequest, "there is no build 99")
}

// waitDone waits for the end of a request by what the interface says.
func waitDone(t *testing.T, r *rig, request int64) {
	t.Helper()
	until(t, "the end of a request", func() bool {
		return r.get(fmt.Sprintf("buildrequests/%d", request)).one("buildrequests")["complete"] == true
	})
}

func TestControlRequest(t *testing.T) {
	conf := basic()
	conf.Workers = []config.Worker{{Name: "w1", MaxBuilds: 1}}
	r := newRig(t, conf)
	r.build("hold")
	r.holds("hold")
	r.build("hold")
	r.call("buildrequests/2", "set_priority", `{"priority":9}`).is("null")
	r.get("buildrequests/2").want(200, `"priority":9`)
	r.call("buildrequests/2", "cancel", `{"reason":"a mistake"}`).is("null")
	r.get("buildrequests/2").want(200, `"results":6`, "a mistake")
	r.call("buildrequests/1", "cancel", `{}`).is("null")
	r.get("builds/1").want(200, `"results":6`)
	r.call("buildrequests/1", "cancel", `{}`).failed(409, codeServer, "it is finished")
	r.call("buildrequests/1", "set_priority", `{"priority":1}`).failed(409, codeServer, "is finished")
	r.call("buildrequests/9", "cancel", `{}`).failed(404, codeInvalidRequest, "there is no request 9")
	r.call("buildrequests/9", "set_priority", `{"priority":1}`).failed(404, codeInvalidRequest, "there is no request 9")
	r.call("buildrequests/1", "set_priority", `{}`).failed(400, codeInvalidParams, "'priority' is missing")
	r.call("buildrequests/1", "set_priority", `{"priority":"1"}`).failed(400, codeInvalidParams, "must be a whole number")
	r.call("buildrequests/1", "set_priority", `{"priority":99999999999}`).failed(400, codeInvalidParams, "out of range")
}

func TestControlBuilder(t *testing.T) {
	conf := basic()
	conf.Workers = []config.Worker{{Name: "w1", MaxBuilds: 1}}
	r := newRig(t, conf)
	r.build("hold")
	r.holds("hold")
	for range 5 {
		r.build("hold")
	}
	k := r.build("test")
	r.call("builders/hold", "stop", `{"reason":"holiday"}`).is("6")
	if left := r.get("builders/hold/buildrequests?complete=0").rows("buildrequests"); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
	if q, _ := r.done(k); q.Result != build.Success {
		t.Errorf("a request of another builder: %v", q)
	}
	r.call("builders/hold", "stop", `{}`).is("0")
	r.call("builders/99", "stop", `{}`).failed(404, codeInvalidRequest, "there is no builder 99")
	r.call("builders/test", "force", `{"properties":{"a b":1}}`).failed(400, codeInvalidParams, `"a b"`)
	r.call("builders/test", "force", `{"properties":[1]}`).failed(400, codeInvalidParams, "'properties' must be an object")
	r.call("builders/test", "force", `{"worker":"none"}`).failed(404, codeInvalidRequest, "not known")
	r.call("builders/test", "force", `{"brunch":"main"}`).failed(400, codeInvalidParams, "there is no parameter 'brunch'")
}

func TestForce(t *testing.T) {
	r := newRig(t, basic())
	r.call("forceschedulers/button", "force", `{"builderNames":["test"],"level":["3"],"target":"some","reason":"to try","priority":4,"owner":"eve","username":""}`).is(`[1,{"1":1}]`)
	waitDone(t, r, 1)
	r.get("buildrequests/1").want(200, `"priority":4`, `"reason":"A build was forced by '': to try"`)
	r.get("builds/1/properties").want(200, `"level":[3,"Force Build Form"]`, `"target":["some","Force Build Form"]`, `"scheduler":["button","Scheduler"]`, `"reason":["to try","Force Build Form"]`)

	r.call("forceschedulers/button", "force", `{"builderid":1,"level":1}`).is(`[2,{"1":2}]`)
	r.call("forceschedulers/button", "force", `{"level":1}`).is(`[3,{"1":3,"2":4}]`)
	r.holds("hold")

	r.call("forceschedulers/button", "force", `{"builderid":1}`).failed(400, codeInvalidParams, `{"level":"'level' needs to be specified"}`)
	r.call("forceschedulers/button", "force", `{"level":"x","target":"none","lvel":1}`).failed(400, codeInvalidParams,
		`{"level":"'level' wants a whole number","lvel":"there is no such field","target":"'none' is not one of the choices of 'target'"}`)
	r.call("forceschedulers/button", "force", `{"level":1,"username":"nobody"}`).failed(400, codeInvalidParams, `"username":"username: please fill in email address`)
	r.call("forceschedulers/button", "force", `{"level":1,"builderid":99}`).failed(404, codeInvalidRequest, "there is no builder 99")
	r.call("forceschedulers/button", "force", `{"level":1,"builderid":"x"}`).failed(400, codeInvalidParams, "whole number")
	r.call("forceschedulers/button", "force", `{"level":1,"builderNames":["other"]}`).failed(400, codeInvalidParams, "asks for builds of test, hold only")
	r.call("forceschedulers/none", "force", `{}`).failed(404, codeInvalidRequest, "there is no force scheduler")

	r.call("schedulers/1", "enable", `{"enabled":false}`).is("null")
	r.get("forceschedulers/button").want(200, `"enabled":false`)
	r.call("forceschedulers/button", "force", `{"level":1}`).failed(409, codeServer, "turned off")
	r.call("schedulers/1", "enable", `{"enabled":true}`).is("null")
	r.get("schedulers/1").want(200, `"enabled":true`)
	r.call("schedulers/1", "enable", `{}`).failed(400, codeInvalidParams, "'enabled' is missing")
	r.call("schedulers/1", "enable", `{"enabled":1}`).failed(400, codeInvalidParams, "true or false")
	r.call("schedulers/9", "enable", `{"enabled":true}`).failed(404, codeInvalidRequest, "there is no scheduler 9")
}

func TestControlAfterTheEnd(t *testing.T) {
	r := newRig(t, basic())
	r.e.Stop(engine.AtOnce)
	<-r.e.Done()
	r.call("workers/1", "pause", `{}`).failed(503, codeServer, "stopping")
	r.call("builders/test", "force", `{}`).failed(503, codeServer, "stopping")
}

func FuzzRPC(f *testing.F) {
	for _, s := range []string{
		`{"jsonrpc":"2.0","method":"pause","id":1,"params":{"reason":"x"}}`, `[]`, `null`, `{"id":{}}`, `{"jsonrpc":"2.0","method":"x","id":null,"params":{}}`,
		`{"jsonrpc":"2.0","method":"x","id":"é","params":{"priority":1e400}}`, `{"id":1e2}`, "\x00", `{"params":{"a":[[[[]]]]}}`,
		"{\"id\":\"\x93\"}",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		r, err := parseRPC(body)
		if err != nil {
			if e := errorOf(err); e.status != 400 || e.text == "" {
				t.Errorf("%q: %+v", body, e)
			}
			if r.id != nil && !validJSON(r.id) {
				t.Errorf("%q: id %q", body, r.id)
			}
			return
		}
		if !validJSON(r.id) || r.params == nil {
			t.Errorf("%q: %+v", body, r)
		}
		for name := range r.params {
			r.params.text(name)
			r.params.integer(name)
			r.params.boolean(name)
			r.params.object(name)
		}
	})
}

// A quarantine is shown with its evidence, and ends with unpause.
func TestQuarantineIsShown(t *testing.T) {
	conf := basic()
	conf.Workers = []config.Worker{{Name: "w1"}}
	conf.Builders = append(conf.Builders, config.Builder{Name: "bad", NoCollapse: true, Steps: []config.Step{named("try", "break")}})
	r := newRig(t, conf)
	s := r.dial()
	s.consume("workers/1/state_updated")
	_, b := r.done(r.build("bad"))
	if b.Result != build.Exception {
		t.Fatalf("the build is %v", b.Result)
	}
	const evidence = "step 'try' of bad #1: "
	_, event := s.until("workers/1/state_updated")
	for _, w := range []map[string]any{event, r.get("workers/w1").one("workers")} {
		q, _ := w["quarantine"].(map[string]any)
		if w["quarantined"] != true || w["paused"] != false || q["phase"] != "held" || q["next"] != 20.0 ||
			!strings.HasPrefix(fmt.Sprint(q["reason"]), evidence) || !strings.HasPrefix(fmt.Sprint(w["blocked"]), "quarantined for ") {
			t.Errorf("the worker is %v", w)
		}
		if until, _ := q["until"].(float64); until < 1e9 {
			t.Errorf("until %v", q["until"])
		}
	}
	r.get("workers?quarantined=1").want(200, `"total":1`)
	r.get("workers/w1/journal?what=quarantined").want(200, `"total":1`, evidence)
	r.call("workers/w1", "unpause", `{}`).is("null")
	r.get("workers/w1").want(200, `"quarantined":false`, `"blocked":null`)
}
