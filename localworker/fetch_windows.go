package localworker

// nonblock is not needed: Windows has no pipes among its files.
const nonblock = 0
