// Package mail makes messages and hands them to an SMTP relay.
//
// The words of our mails are made by pure functions of plain values
// ([WorkersMissing], [WorkersReturned], [BuildFinished], [Test]); their
// [Content] becomes a [Message] and, by [Message.Bytes], its MIME form.
// [Relay.Send] carries it to a relay and says for each recipient what became of
// it. [Backoff] and [GiveUp] say when to try again; the queue itself belongs to
// the caller.
//
// Text that comes from outside (names, logs, a relay's answers) may hold
// anything: it is cleaned here, so that it adds no header, no command and no
// control character to a mail, a dialogue or a terminal.
package mail
