// Package incidents is the register of breaches and incidents: a store of its
// own, apart from the record of browsing (R41). It is a fold over events that are
// only ever added:
//
//  1. a command is checked against the incident as it is, and against who asks
//  2. its event is recorded, on disk, with who, when and in whose words
//  3. the incident is what all its events together say
//
// An incident goes from new to triaged, escalated, reported and closed, and never
// back. Its kind says what must be done; it cannot be closed while a task has
// neither been done nor been given a reason. An incident about a member of staff is
// seen by the Headteacher and the chair of governors only, IT sees none (R36).
//
// Nothing in it is ever changed or taken out, it keeps no picture and no body of a
// page (R24), and the address of a mandatory hit is in it only sealed ([Seal]).
package incidents
