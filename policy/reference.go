package policy

import (
	"math"
	"strconv"
	"strings"
)

// A reference is what people read off a page, say on the telephone and type in again:
// a prefix, a number, and from 18 on a hyphen and a character that catches what was
// misread, as in SG-1A2-G. Its letters are Crockford's: O, I and L, which look like 0
// and 1, are not among them and are read as those; nor is U. The first seventeen
// numbers are one character and look as they always did.

const (
	refLetters = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
	refBase    = uint64(len(refLetters))
	refPlain   = 18 // numbers below are alike in base 36 and need no check
)

// FormatReference is a number as people see it.
func FormatReference(prefix string, n uint64) string {
	var b [24]byte
	i := len(b)
	if n >= refPlain {
		i -= 2
		b[i], b[i+1] = '-', refLetters[refCheck(n)]
	}
	for {
		i--
		b[i] = refLetters[n%refBase]
		if n /= refBase; n == 0 {
			return prefix + string(b[i:])
		}
	}
}

// refCheck is the check character's value, by Luhn's way in base 32: it catches every
// wrong character and nearly every two that changed places.
func refCheck(n uint64) uint64 {
	sum, factor := uint64(0), uint64(2)
	for ; n > 0; n /= refBase {
		d := n % refBase * factor
		sum += d/refBase + d%refBase
		factor = 3 - factor
	}
	return (refBase - sum%refBase) % refBase
}

// ParseReference reads what FormatReference wrote, in either case, and what references were
// before: the number in base 36, without a check. 0 is none.
func ParseReference(prefix, s string) (n uint64, ok bool) {
	digits, ok := strings.CutPrefix(strings.ToUpper(s), prefix)
	if !ok {
		return 0, false
	}
	digits, check, checked := strings.Cut(digits, "-")
	if !checked {
		n, err := strconv.ParseUint(digits, 36, 64)
		return n, err == nil && n > 0
	}
	if digits == "" {
		return 0, false
	}
	for _, c := range digits {
		v, ok := refValue(c)
		if !ok || n > (math.MaxUint64-v)/refBase {
			return 0, false
		}
		n = n*refBase + v
	}
	c, size := rune(0), 0
	for _, c = range check {
		size++
	}
	v, ok := refValue(c)
	return n, ok && size == 1 && n > 0 && v == refCheck(n)
}

func refValue(c rune) (uint64, bool) {
	switch c {
	case 'O':
		c = '0'
	case 'I', 'L':
		c = '1'
	}
	i := strings.IndexRune(refLetters, c)
	return uint64(max(i, 0)), i >= 0
}
