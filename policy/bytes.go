package policy

// The sets a byte can be in, as bits.
const (
	inName       uint8 = 1 << iota // a name holds it
	inDecimal                      // a digit
	inHex                          // a hex digit
	inScheme                       // a scheme holds it after its first letter
	inUnreserved                   // an escape of it means the same everywhere (RFC 3986 section 2.3)
	inPath                         // stands for itself in a canonical path
	inQuery                        // stands for itself in a canonical query
)

const (
	lower  = "abcdefghijklmnopqrstuvwxyz"
	upper  = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	digits = "0123456789"

	unreserved = lower + upper + digits + "-._~"
)

// bytesIn says of each byte which sets it is in.
var bytesIn = func() (t [256]uint8) {
	for set, members := range map[uint8]string{
		inName:       lower + digits + "-_",
		inDecimal:    digits,
		inHex:        digits + "abcdefABCDEF",
		inScheme:     lower + upper + digits + "+-.",
		inUnreserved: unreserved,
		inPath:       unreserved + "/!$&'()*+,;=:@[]|^",
		inQuery:      unreserved + "/!$&()*+,;=:@[]|^?`{}\\",
	} {
		for _, c := range []byte(members) {
			t[c] |= set
		}
	}
	return t
}()

// escape reads the %XX that s begins with.
func escape[S string | []byte](s S) (c byte, ok bool) {
	if len(s) < 3 || s[0] != '%' || bytesIn[s[1]]&inHex == 0 || bytesIn[s[2]]&inHex == 0 {
		return 0, false
	}
	return nibble(s[1])<<4 | nibble(s[2]), true
}

func nibble(c byte) byte {
	if c <= '9' {
		return c - '0'
	}
	return c&^0x20 - 'A' + 10
}

// appendEscape writes a byte the one canonical way, in upper-case hex.
func appendEscape(dst []byte, c byte) []byte {
	const hex = digits + "ABCDEF"
	return append(dst, '%', hex[c>>4], hex[c&15])
}
