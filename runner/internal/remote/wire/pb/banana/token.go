package banana

// The bytes that end a number and say what it means. twisted/spread/banana.py,
// "delimiter characters".
const (
	typeList    = 0x80
	typeInt     = 0x81
	typeString  = 0x82
	typeNeg     = 0x83
	typeFloat   = 0x84
	typeLongInt = 0x85
	typeLongNeg = 0x86
	typeVocab   = 0x87
)

const (
	// MaxString is how many bytes a string may have, and MaxList how many
	// elements a list: Twisted's SIZE_LIMIT, beyond which it drops the
	// connection.
	MaxString = 640 << 10
	MaxList   = 640 << 10

	// maxPrefix is how many digits a number may have: Twisted's _PREFIX_LIMIT.
	maxPrefix = 64
)

// vocabulary are the words that the dialect "pb" sends as numbers, wherever a
// string may be. twisted/spread/banana.py, outgoingVocabulary.
var vocabulary = [...]string{
	1:  "None",
	2:  "class",
	3:  "dereference",
	4:  "reference",
	5:  "dictionary",
	6:  "function",
	7:  "instance",
	8:  "list",
	9:  "module",
	10: "persistent",
	11: "tuple",
	12: "unpersistable",
	13: "copy",
	14: "cache",
	15: "cached",
	16: "remote",
	17: "local",
	18: "lcache",
	19: "version",
	20: "login",
	21: "password",
	22: "challenge",
	23: "logged_in",
	24: "not_logged_in",
	25: "cachemessage",
	26: "message",
	27: "answer",
	28: "error",
	29: "decref",
	30: "decache",
	31: "uncache",
}

// longestWord is the length of the longest word of the vocabulary.
const longestWord = len("unpersistable")

// word returns the number of a word of the vocabulary; 0 for other strings.
func word(s string) int {
	if len(s) > longestWord {
		return 0
	}
	for i, w := range vocabulary {
		if i > 0 && w == s {
			return i
		}
	}
	return 0
}
