# shellcheck shell=bash
# /usr/local/share/bash-completion/completions/self-heal: completion for bash. Printed by `self-heal completions bash`.
# What could stand at the cursor is asked of the self-heal that is in PATH.

_self_heal() {
  # Readline breaks words at : and = as well; here web-1:9113 and --alert=NAME are whole again.
  local piece words=() glued='' word
  for piece in "${COMP_WORDS[@]:1:COMP_CWORD}"; do
    if [[ ${#words[@]} -gt 0 && $piece =~ ^[:=]+$ ]]; then
      words[-1]+=$piece glued=yes
    elif [[ $glued && ! ($piece == '' && ${COMP_LINE:COMP_POINT-1:1} == [[:blank:]]) ]]; then
      words[-1]+=$piece glued=''
    else
      words+=("$piece") glued=''
    fi
  done
  # Of the last word, what stands before the piece that readline replaces.
  local last=${words[-1]} kept
  piece=${COMP_WORDS[COMP_CWORD]}
  if [[ $piece =~ ^[:=]+$ ]]; then kept=$last; else kept=${last%"$piece"}; fi

  COMPREPLY=()
  while IFS=$'\t' read -r word _; do
    case $word in
      :files | :folders)
        local kind=-f
        if [[ $word == :folders ]]; then kind=-d; fi
        compopt -o filenames 2>/dev/null
        mapfile -t COMPREPLY < <(compgen "$kind" -- "${last#"$kept"}")
        return
        ;;
      *) COMPREPLY+=("${word#"$kept"}") ;;
    esac
  done < <(command self-heal completions for "${words[@]}" 2>/dev/null)
}

complete -F _self_heal self-heal
