# fish completion for xget: options, verbs, and the names that a master serves.
#
# The names come from `xget ls --complete`, which answers within 0.3 s or says nothing.
# Nothing that is typed, and no name that is served, is evaluated.

# -n and -p with what stands behind them, as they were typed.
function __xget_masters
    set -l words (commandline -opc)
    set -e words[1]
    set -l takes 0
    for word in $words
        if test $takes = 1
            printf '%s\n' $word
            set takes 0
        else if contains -- $word -n -p
            printf '%s\n' $word
            set takes 1
        else if string match -qr -- '^-[np].' $word
            printf '%s\n' $word
        end
    end
end

# The verb, or nothing.
function __xget_verb
    set -l words (commandline -opc)
    if contains -- "$words[2]" ls status get find run add
        printf '%s\n' $words[2]
    end
end

function __xget_is
    contains -- (__xget_verb) $argv
end

# Remote names that begin with what is typed; of `file:NAME` behind that.
function __xget_remote
    set -l typed (commandline -ct)
    set -l bare (string unescape -- $typed 2>/dev/null); or set bare $typed
    set -l front ''
    if test (__xget_verb) = run 2>/dev/null
        set front (string match -r -- '^(?:file|tar):' $bare); or return
        set bare (string replace -r -- '^(?:file|tar):' '' $bare)
    end
    for name in (command xget ls --complete "$bare" (__xget_masters) 2>/dev/null)
        printf '%s%s\n' "$front" $name
    end
end

function __xget_options
    command xget (__xget_verb) --help 2>/dev/null | string match -ar -- '(?<=^|[ \[])--?[a-zA-Z][a-z-]*' | sort -u
end

complete -c xget -n '__xget_is ls find status' -f
complete -c xget -n '__xget_is ls find get run' -a '(__xget_remote)'
complete -c xget -n 'test -z (__xget_verb); and test -n "$(__xget_masters)"' -a '(__xget_remote)'
complete -c xget -n 'test (count (commandline -opc)) = 1' -a 'ls status get find run add'
complete -c xget -n 'string match -q -- "-*" (commandline -ct)' -a '(__xget_options)'
complete -c xget -s n -x -a '(__fish_print_hostnames)'
complete -c xget -s p -x
