package cli

// setUmask does nothing: there is none here.
func setUmask(int) {}
