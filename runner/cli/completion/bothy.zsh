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
compdef _bothy bothy
