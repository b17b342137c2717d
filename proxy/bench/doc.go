// Package bench measures the HTTP(S) door, as the built binary with a policy, a
// store of lists and the journal, beside squid and a bare Go proxy, in turns: see
// bench-proxy.sh. All of it lives in test files; nothing here is in the product.
package bench
