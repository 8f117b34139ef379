package index

// Change is what an event of a log says of documents.
type Change struct {
	Ref
	// Whole means all documents of the scope: those that the index has are to be
	// compared with those that there are.
	Whole bool
	// Adopt means the whole scope if the index has nothing of it yet.
	Adopt bool
}
