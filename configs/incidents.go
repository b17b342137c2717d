package configs

import (
	"fmt"
	"strings"

	"filippo.io/age"
)

// readIncidents reads to whom the address of a mandatory hit is sealed.
func (r *schoolReader) readIncidents(v value) {
	v.fields(map[string]func(value){
		"seal_to": func(v value) {
			v.fields(map[string]func(value){
				"dsl":  one(&r.seal.DSL, publicKey),
				"head": one(&r.seal.Head, publicKey),
			})
			switch {
			case r.seal.DSL == "" && !v.has("dsl"), r.seal.Head == "" && !v.has("head"):
				v.problem("it takes two keys, of two people (write dsl: and head:, each as incidents keygen prints it)")
			case r.seal.DSL == r.seal.Head && r.seal.DSL != "":
				v.problem("the two keys are one (the DSL and the Headteacher each make their own: incidents keygen)")
			}
		},
	})
}

// publicKey is a key that something is sealed to.
func publicKey(s string) (string, error) {
	if strings.HasPrefix(s, "AGE-SECRET-KEY-") {
		return "", fmt.Errorf("this is a secret key: it belongs on no box; want the public one, which begins with age1, and make a new pair")
	}
	key, err := age.ParseX25519Recipient(s)
	if err != nil {
		return "", fmt.Errorf("bad key %q: want one such as age1..., as incidents keygen prints it", clip(s))
	}
	return key.String(), nil
}
