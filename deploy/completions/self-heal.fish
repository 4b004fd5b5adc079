# /etc/fish/completions/self-heal.fish: completion for fish. Printed by `self-heal completions fish`.
# What could stand at the cursor is asked of the self-heal that is in PATH.

function __self_heal_complete
    set -l words (commandline -opc)
    set -l lines (command self-heal completions for $words[2..-1] (commandline -ct) 2>/dev/null)
    switch "$lines[1]"
        case :files
            __fish_complete_path (commandline -ct)
        case :folders
            __fish_complete_directories (commandline -ct)
        case '*'
            printf '%s\n' $lines
    end
end

complete -c self-heal -f -a '(__self_heal_complete)'
