// Package destination says which addresses may be dialled: no name, whoever gives it,
// leads to the inside, unless the school opened the way.
//
// A [Set] refuses the inside (package inside), the school's own networks and every
// address of the box. A range that the school listed is open, except for the box's own
// addresses in it, which must be listed alone. What cannot be read is refused. The
// addresses of the box are read when it is made and at each [Set.Refresh]; if that fails
// the last known ones stay. Its answers take no lock, wait for nothing and look nothing
// up: whoever resolves names asks about each address, and once more at the socket.
package destination
