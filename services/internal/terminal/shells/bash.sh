# bash with marks (OSC 133) around prompts and commands, after the user's own rc.
if [ -r /etc/bash.bashrc ]; then . /etc/bash.bashrc; fi
if [ -r ~/.bashrc ]; then . ~/.bashrc; fi

# The last line of the history, percent-encoded; nothing if it was not kept there.
__anthill_command() {
  local LC_ALL=C text i c out= number
  text=$(HISTTIMEFORMAT= builtin history 1 2>/dev/null)
  [[ $text =~ ^[[:space:]]*([0-9]+)\*?[[:space:]]+(.*)$ ]] || return
  number=${BASH_REMATCH[1]} text=${BASH_REMATCH[2]}
  [[ $number != "$__anthill_seen" ]] || return
  text=${text:0:2000}
  for ((i = 0; i < ${#text}; i++)); do
    c=${text:i:1}
    case $c in
      [a-zA-Z0-9/._~-]) out+=$c ;;
      *) printf -v c '%%%02X' "'$c"; out+=%${c: -2} ;;
    esac
  done
  builtin printf ';cmdline_url=%s' "$out"
}

__anthill_number() {
  local text
  text=$(HISTTIMEFORMAT= builtin history 1 2>/dev/null)
  [[ $text =~ ^[[:space:]]*([0-9]+) ]] && builtin printf %s "${BASH_REMATCH[1]}"
}

__anthill_path() {
  local LC_ALL=C i c out=
  for ((i = 0; i < ${#PWD}; i++)); do
    c=${PWD:i:1}
    case $c in
      [a-zA-Z0-9/._~-]) out+=$c ;;
      *) printf -v c '%%%02X' "'$c"; out+=%${c: -2} ;;
    esac
  done
  builtin printf %s "$out"
}

__anthill_done() {
  local status=$?
  builtin printf '\033]133;D;%s\033\\\033]7;file://%s%s\033\\' "$status" "${HOSTNAME//[^a-zA-Z0-9.-]/}" "$(__anthill_path)"
  __anthill_seen=$(__anthill_number)
  return "$status"
}

__anthill_prompt() {
  local status=$?
  if [[ $PS1 != *'133;A'* ]]; then
    PS1='\[\033]133;A\033\\\]'$PS1'\[\033]133;B\033\\\]'
  fi
  return "$status"
}

PS0=${PS0-}'\033]133;C$(__anthill_command)\033\\'
if [[ $(declare -p PROMPT_COMMAND 2>/dev/null) == 'declare -a'* ]]; then
  PROMPT_COMMAND=(__anthill_done "${PROMPT_COMMAND[@]}" __anthill_prompt)
else
  PROMPT_COMMAND="__anthill_done${PROMPT_COMMAND:+
$PROMPT_COMMAND}
__anthill_prompt"
fi
