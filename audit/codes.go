package audit

import "schoolgate/policy"

// What doors, verdicts and reasons are called on disk. The numbers in policy
// follow the decision order and may move; these never do: append only.
var (
	doorCodes    = [...]string{0: "", 1: "dns", 2: "http", 3: "connect", 4: "tls", 5: "inspect", 6: "check", 7: "staff", 8: "gateway"}
	useCodes     = [...]string{0: "", 1: "person", 2: "background"}
	verdictCodes = [...]string{0: "block", 1: "warn", 2: "allow"}
	reasonCodes  = [...]string{
		0: "not_ready", 1: "bad_host", 2: "mandatory", 3: "never_block", 4: "quarantine", 5: "unsigned",
		6: "pass", 7: "exception", 8: "approved", 9: "not_approved", 10: "category", 11: "except",
		12: "uncategorised", 13: "default", 14: "destination", 15: "protocol", 16: "emergency", 17: "content", 18: "sign_in", 19: "warned",
	}
)

// codec translates one of policy's small enumerations to disk and back. A code
// written by a newer version reads as 0, the value nobody filled in.
type codec[T ~uint8] struct {
	toDisk   [256]byte
	fromDisk [256]T
}

var (
	doors    = newCodec[policy.Door](doorCodes[:], policy.Door.String)
	uses     = newCodec[policy.Use](useCodes[:], policy.Use.String)
	verdicts = newCodec[policy.Verdict](verdictCodes[:], policy.Verdict.String)
	reasons  = newCodec[policy.Reason](reasonCodes[:], policy.Reason.String)
)

func newCodec[T ~uint8](codes []string, name func(T) string) *codec[T] {
	c := new(codec[T])
	for code := len(codes) - 1; code >= 0; code-- {
		for v := 255; v >= 0; v-- { // the lowest value wins: unknown ones share the zero's name
			if name(T(v)) == codes[code] {
				c.toDisk[v], c.fromDisk[code] = byte(code), T(v)
			}
		}
	}
	return c
}
