package secret

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
)

// errAnswer says no more: the error of a decoder may quote what it read.
var errAnswer = errors.New("the answer is not what Vault answers")

// vaultValue returns the value of a key from an answer of the key-value engine:
// {"data": {…}} for version 1, {"data": {"data": {…}}} for version 2. Numbers
// and truth values become text.
func vaultValue(body []byte, version int, key string) (string, error) {
	var entry struct {
		Data map[string]json.RawMessage `json:"data"`
	}
	if json.Unmarshal(body, &entry) != nil {
		return "", errAnswer
	}
	if version == 2 {
		if _, ok := entry.Data["metadata"]; !ok {
			return "", errors.New("the engine is not of version 2: set api_version = 1")
		}
		inner := entry.Data["data"]
		entry.Data = nil
		if json.Unmarshal(inner, &entry.Data) != nil {
			return "", errAnswer
		}
	}
	raw, ok := entry.Data[key]
	if !ok || string(raw) == "null" {
		return "", absent(fmt.Sprintf("there is no key %q at this path", key))
	}
	var value any
	d := json.NewDecoder(strings.NewReader(string(raw)))
	d.UseNumber()
	if d.Decode(&value) != nil {
		return "", errAnswer
	}
	var text string
	switch v := value.(type) {
	case string:
		text = v
	case json.Number:
		text = v.String()
	case bool:
		text = fmt.Sprint(v)
	default:
		return "", fmt.Errorf("the value of %q is not a text", key)
	}
	if len(text) > maxValue {
		return "", fmt.Errorf("the value of %q has more than %d bytes", key, maxValue)
	}
	return text, nil
}

// vaultToken returns the token of an answer to a login, and for how long it is
// good, 0 for ever.
func vaultToken(body []byte) (token string, lease time.Duration, err error) {
	var answer struct {
		Auth struct {
			ClientToken   string `json:"client_token"`
			LeaseDuration int64  `json:"lease_duration"` // seconds
		} `json:"auth"`
	}
	if json.Unmarshal(body, &answer) != nil || answer.Auth.ClientToken == "" || answer.Auth.LeaseDuration < 0 ||
		strings.ContainsFunc(answer.Auth.ClientToken, unicode.IsControl) {
		return "", 0, errAnswer
	}
	lease = min(time.Duration(min(answer.Auth.LeaseDuration, int64(maxLease/time.Second)))*time.Second, maxLease)
	return answer.Auth.ClientToken, lease, nil
}

// vaultTexts returns what an answer says went wrong.
func vaultTexts(body []byte) []string {
	var answer struct {
		Errors []string `json:"errors"`
	}
	if json.Unmarshal(body, &answer) != nil {
		return nil
	}
	return answer.Errors
}

// maxWords bounds what is repeated of another program's error, in characters.
const maxWords = 200

// oneLine makes a text from elsewhere fit to be shown in an error.
func oneLine(s string) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, strings.ToValidUTF8(s, "?"))
	s = strings.Join(strings.Fields(s), " ")
	if r := []rune(s); len(r) > maxWords {
		s = string(r[:maxWords-1]) + "…"
	}
	return s
}
