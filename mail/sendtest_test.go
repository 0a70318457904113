package mail

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"testing/synctest"
)

// A test mail arrives, and tells through what; when it does not, the error names
// the recipient and what the relay said.
func TestSendTest(t *testing.T) {
	s := startServer(t, &server{}, nil)
	var dialogue bytes.Buffer
	said, err := SendTest(t.Context(), relayTo(s), "Croft", "ci@mail.test", "", "bob@mail.test", &dialogue)
	if err != nil || said == "" || !strings.Contains(dialogue.String(), "C: ") {
		t.Errorf("said %q, %v\n%s", said, err, &dialogue)
	}
	if got := s.received(); len(got) != 1 || !strings.Contains(got[0], "This is a test") || !strings.Contains(got[0], s.addr) {
		t.Errorf("received %q", got)
	}
	synctest.Test(t, func(t *testing.T) {
		r := dialScript(t, func(s script) {
			s.converse("RCPT")
			s.say("550 no such user")
			s.obey(s.hear(), "QUIT")
		})
		_, err := SendTest(context.Background(), r, "Croft", "ci@mail.test", "", "bob@mail.test", nil)
		if err == nil || !strings.Contains(err.Error(), "bob@mail.test") || !strings.Contains(err.Error(), "no such user") {
			t.Errorf("the relay refuses: %v", err)
		}
	})
}
