#compdef bothy
# zsh completion for bothy:  source <(bothy completion zsh)
_bothy() {
	local -a found
	found=(${(f)"$(${~words[1]} __complete zsh "${(@)words[2,CURRENT]}" 2>/dev/null)"})
	if (( $#found )); then
		_describe -t bothy bothy found
	else
		_files
	fi
}
# As a file in fpath this is the function itself; sourced, it only defines it.
if [[ $funcstack[1] == _bothy ]]; then
	_bothy "$@"
else
	compdef _bothy bothy
fi
