# fish completion for bothy:  bothy completion fish | source
function __bothy_complete
	set -l words (commandline -opc) (commandline -ct)
	set -l found ($words[1] __complete fish $words[2..-1] 2>/dev/null)
	if test (count $found) -gt 0
		printf '%s\n' $found
	else
		__fish_complete_path (commandline -ct)
	end
end
complete -c bothy -f -a '(__bothy_complete)'
