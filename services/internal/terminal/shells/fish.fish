# fish with marks (OSC 133) around prompts and commands; version 4 has them itself.
if string match -qr '^[0-3]\.' -- $version
    function __anthill_done --on-event fish_postexec
        printf '\033]133;D;%s\033\\\\' $status
    end
    function __anthill_command --on-event fish_preexec
        printf '\033]133;C;cmdline_url=%s\033\\\\' (string escape --style=url -- (string sub -l 2000 -- (string join \n -- $argv)) | string join '%0A')
    end
    function __anthill_prompt --on-event fish_prompt
        printf '\033]7;file://%s%s\033\\\\\033]133;A\033\\\\' (hostname | string replace -ra '[^a-zA-Z0-9.-]' '') (string escape --style=url -- $PWD)
    end
end
