// Package configs reads what people write: schoolgate.yaml, the box, which IT
// owns, and policy.yaml, the school's decision, which its leadership owns. It
// carries a complete sample of both inside the binary.
//
// A file is read in this order: bounded and checked to be text, parsed, walked
// field by field, its references checked, and at last compiled by package policy
// as a whole. Every problem found on the way is reported, each with its place,
// its subject, the trouble and a way out; with any, there is no configuration.
//
// The help-lines, the captive-portal checks and the update hosts are part of
// every policy, the school's own included (REQUIREMENTS C12, F10, R78).
//
// It never guesses: an unknown field, a key given twice and a value of the wrong
// kind are problems, and YAML's anchors, aliases and tags are refused. Nothing
// here listens, dials or writes.
package configs
