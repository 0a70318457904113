package build

import (
	"encoding/json"
	"testing"
)

func TestWorstOrdersResults(t *testing.T) {
	worstFirst := []Result{Cancelled, Retry, Exception, Failure, Warnings, Success, Skipped, None}
	for i, a := range worstFirst {
		for j, b := range worstFirst {
			want := worstFirst[min(i, j)]
			if got := Worst(a, b); got != want {
				t.Errorf("Worst(%v, %v) = %v, want %v", a, b, got, want)
			}
		}
	}
}

func TestResultNumbersAndNamesAreBuildbots(t *testing.T) {
	names := []string{"success", "warnings", "failure", "skipped", "exception", "retry", "cancelled"}
	for i, name := range names {
		r, err := ParseResult(name)
		if err != nil || int(r) != i || r.String() != name {
			t.Errorf("ParseResult(%q) = %d (%v), %v; want %d", name, r, r, err, i)
		}
		data, err := json.Marshal(r)
		if err != nil || string(data) != string(rune('0'+i)) {
			t.Errorf("Marshal(%v) = %s, %v", r, data, err)
		}
	}
	if None.String() != "none" || Result(9).String() != "result(9)" {
		t.Errorf("None is %q, 9 is %q", None, Result(9))
	}
	if r, err := ParseResult("none"); err == nil {
		t.Errorf(`ParseResult("none") = %v, want an error`, r)
	}
}

func TestResultJSON(t *testing.T) {
	for _, r := range []Result{None, Success, Warnings, Failure, Skipped, Exception, Retry, Cancelled} {
		data, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		var got Result
		if err := json.Unmarshal(data, &got); err != nil || got != r {
			t.Errorf("%v went through JSON %s as %v, %v", r, data, got, err)
		}
	}
	for _, bad := range []string{"7", "-2", "300", `"success"`, "1.5"} {
		var got Result
		if err := json.Unmarshal([]byte(bad), &got); err == nil {
			t.Errorf("decoded %s as %v, want an error", bad, got)
		}
	}
	if _, err := json.Marshal(Result(9)); err == nil {
		t.Error("encoded result 9, want an error")
	}
}

func TestApply(t *testing.T) {
	def := DefaultFlags()
	tests := []struct {
		name        string
		flags       Flags
		step, soFar Result
		want        Result
		halt        bool
	}{
		{"success", def, Success, None, Success, false},
		{"success keeps a failure", def, Success, Failure, Failure, false},
		{"failure", def, Failure, Success, Failure, true},
		{"failure, go on", Flags{FlunkOnFailure: true}, Failure, Success, Failure, false},
		{"failure as warnings", Flags{WarnOnFailure: true}, Failure, Success, Warnings, false},
		{"flunk beats warn", Flags{FlunkOnFailure: true, WarnOnFailure: true}, Failure, Success, Failure, false},
		{"failure ignored", Flags{}, Failure, Success, Success, false},
		{"failure ignored but halts", Flags{HaltOnFailure: true}, Failure, Success, Success, true},
		{"warnings ignored", def, Warnings, Success, Success, false},
		{"warnings", Flags{WarnOnWarnings: true}, Warnings, Success, Warnings, false},
		{"warnings flunk, do not halt", Flags{FlunkOnWarnings: true, HaltOnFailure: true}, Warnings, Success, Failure, false},
		{"skipped after nothing", def, Skipped, None, Skipped, false},
		{"skipped after success", def, Skipped, Success, Success, false},
		{"exception always halts", Flags{}, Exception, Failure, Exception, true},
		{"retry always halts", Flags{}, Retry, Exception, Retry, true},
		{"cancelled always halts", Flags{}, Cancelled, Retry, Cancelled, true},
		{"better does not undo worse", def, Failure, Exception, Exception, true},
		{"nothing changes nothing", def, None, Warnings, Warnings, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, halt := tt.flags.Apply(tt.step, tt.soFar)
			if got != tt.want || halt != tt.halt {
				t.Errorf("Apply(%v, %v) = %v, %v; want %v, %v", tt.step, tt.soFar, got, halt, tt.want, tt.halt)
			}
		})
	}
}

func TestOnlyWorkerAndStepBlameTheWorker(t *testing.T) {
	blame := map[Cause]bool{CauseWorker: true, CauseStep: true}
	for _, c := range []Cause{CauseNone, CauseWorker, CauseStep, CauseMaster, CauseDisk, CauseRetries, CauseOOM, CauseConfig} {
		if c.BlamesWorker() != blame[c] {
			t.Errorf("cause %q: BlamesWorker = %v", c, c.BlamesWorker())
		}
	}
}
