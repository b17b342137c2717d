// Package gate bounds how many connections clients have, and how much of them is at
// work at once.
//
// A [Gate] stands before all doors and counts by the address of the connection. It
// refuses the new one and keeps the old: at the bound of all, at the bound of one
// address, and while memory runs short, first whoever has many already and then
// everybody (F14, F15, T6). What is counted is let go by whoever was let in.
//
// It looks at the process's memory as Go's runtime tells it, no more than fifty times a
// second and only when somebody comes; while it is short a collection a second finds
// out whether it still is. It holds a number for each address that is connected, and
// forgets an address with its last connection.
package gate
