module embedtest

go 1.26.0

require bothy v0.0.0

replace bothy => ../..
