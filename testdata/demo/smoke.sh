#!/bin/sh
# Starts the program that step 1 built and looks at what it says.
set -eu
program=$1
for language in en de fr; do
	said=$(LANG=${language}_XX "$program" Bothy)
	echo "$language: $said"
	case $said in
	*Bothy*) ;;
	*) echo "no name in it" >&2; exit 1 ;;
	esac
done
echo "all languages greet"
