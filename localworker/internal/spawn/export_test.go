package spawn

// ShareMemory makes a pool do as where no memory group can be made.
func (o *Options) ShareMemory() { o.shareMemory = true }
