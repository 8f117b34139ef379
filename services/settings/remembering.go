package settings

// Remembering says whether entries are remembered, and whether what was said
// before may be looked up. A settings file that cannot be read allows both, as
// a fresh one does.
func (r *Room) Remembering() (memory, past bool) {
	e, err := r.env()
	if err != nil {
		return true, true
	}
	return e.bool(envMemoryEnabled, true) && e.getOr(envMemoryMode, "autopilot") != "off", e.bool(envEpisodicMemory, true)
}
