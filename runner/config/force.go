package config

// Force is a form for a person to fill in.
type Force struct {
	Label  string // default: the scheduler's name
	Button string // default: the scheduler's name
	// Reason is the field that asks why. Default: optional, "force build".
	Reason Parameter
	// Username is the field that asks who, looked at only when it is not known
	// who asks. Default: optional, with a mail address.
	Username   Parameter
	Parameters []Parameter
}

// Parameter is a field of a form. Its value becomes a property.
type Parameter struct {
	// Name is that of the property; unique within the form, where a field of a
	// nested one is called PARENT_NAME.
	Name     string
	Type     ParameterType // default ParameterString
	Label    string        // default: Name
	Tooltip  string        // a longer explanation
	Default  any           // when nothing is entered; text, a number, a truth value or a list of texts
	Required bool
	Hide     bool // not shown; has its default unless a program enters a value

	// Regex must match the beginning of a text, as Python's re.match would; RE2
	// syntax.
	Regex      string
	Size       int // of the field shown, in characters; default 10, for user names 30
	Cols, Rows int // of the field shown, for ParameterText; default 80 and 20
	MaxSize    int // of a text, in bytes; default 64 KiB

	Choices  []string // for ParameterChoice
	Multiple bool     // for ParameterChoice: any number of them
	// Open takes, for ParameterChoice, other values than the choices. In the
	// file: strict = false.
	Open bool
	// NoEmail takes, for ParameterUsername, names without a mail address. In the
	// file: need_email = false.
	NoEmail bool

	// Fields are those of a ParameterNested. With a name their values become one
	// property, a table; without, they are as those around it.
	Fields  []Parameter
	Columns int // for ParameterNested, 1 to 4; default 1, from 4 fields on 2
}

// ParameterType is what a field asks for.
type ParameterType string

// The types of parameter. Buildbot's names for them are in brackets.
const (
	ParameterString   ParameterType = "string"   // a line [text]
	ParameterText     ParameterType = "text"     // lines [textarea]
	ParameterInt      ParameterType = "int"      // a whole number [int]
	ParameterBool     ParameterType = "bool"     // [bool]
	ParameterChoice   ParameterType = "choice"   // one or more of a list [list]
	ParameterFixed    ParameterType = "fixed"    // always the default [fixed]
	ParameterUsername ParameterType = "username" // "NAME <ADDRESS>" [username]
	ParameterNested   ParameterType = "nested"   // other fields [nested]
)

// Limits of a form.
const (
	maxFieldNesting = 4
	maxFieldSize    = 64 << 10 // bytes of a text
	maxFieldColumns = 4        // Buildbot: NestedParameter
)

// Form returns all fields of a force scheduler's form, the ones every form has
// included: who, why and how urgent; what to build; and its parameters.
// Buildbot: ForceScheduler.all_fields.
func (s *Scheduler) Form() []Parameter {
	urgent := Parameter{Name: "priority", Type: ParameterInt, Label: "Priority", Default: int64(s.Priority), Size: 10}
	what := Parameter{Type: ParameterNested, Columns: 2}
	for _, f := range [...][2]string{{"branch", "Branch"}, {"revision", "Revision"}, {"repository", "Repository"}, {"project", "Project"}} {
		p := Parameter{Name: f[0], Label: f[1]}
		p.setDefaults()
		what.Fields = append(what.Fields, p)
	}
	who := Parameter{Type: ParameterNested, Columns: 1, Fields: []Parameter{s.Force.Username, s.Force.Reason, urgent}}
	return append([]Parameter{who, what}, s.Force.Parameters...)
}

// FullName returns the name a value is entered under, in a field of that full
// name, "" for none. Buildbot: fullName.
func (p *Parameter) FullName(parent string) string {
	switch {
	case parent == "":
		return p.Name
	case p.Name == "":
		return parent
	}
	return parent + "_" + p.Name
}

func (f *Force) setDefaults(scheduler string) {
	orElse(&f.Label, scheduler)
	orElse(&f.Button, scheduler)
	f.Reason.Name, f.Reason.Type = "reason", ParameterString
	orElse(&f.Reason.Label, "Reason")
	orElse(&f.Reason.Size, 20)
	if f.Reason.Default == nil {
		f.Reason.Default = "force build"
	}
	f.Reason.setDefaults()
	f.Username.Name, f.Username.Type = "username", ParameterUsername
	orElse(&f.Username.Label, "Your name")
	f.Username.setDefaults()
	for i := range f.Parameters {
		f.Parameters[i].setDefaults()
	}
}

// setDefaults fills in what Buildbot's parameters have by default.
func (p *Parameter) setDefaults() {
	if len(p.Fields) > 0 {
		orElse(&p.Type, ParameterNested)
	}
	orElse(&p.Type, ParameterString)
	orElse(&p.Label, p.Name)
	switch p.Type {
	case ParameterUsername:
		orElse(&p.Size, 30)
	case ParameterText:
		orElse(&p.Cols, 80)
		orElse(&p.Rows, 20)
	case ParameterNested:
		orElse(&p.Columns, 1+min(len(p.Fields)/4, 1))
	}
	switch p.Type {
	case ParameterString, ParameterInt:
		orElse(&p.Size, 10)
	}
	switch p.Type {
	case ParameterString, ParameterText, ParameterUsername:
		orElse(&p.MaxSize, maxFieldSize)
	}
	for i := range p.Fields {
		p.Fields[i].setDefaults()
	}
}
