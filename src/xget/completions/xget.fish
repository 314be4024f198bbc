# fish completion for xget: options, verbs, and the names that a master serves.
#
# The names come from `xget ls --complete`, which answers within 0.3 s or says nothing.
# Nothing that is typed, and no name that is served, is evaluated.

# Words before the cursor that are for xget itself: up to `--`, or the command of a run.
function __xget_own
    set -l words (commandline -opc)
    set -e words[1]
    set -l takes 0
    set -l at 0
    for word in $words
        set at (math $at + 1)
        if test $takes = 1
            set takes 0
        else if test "$word" = --
            return
        else if string match -qr -- '^(-[npCDmr]|--.*-(dest|dir)|--(cache|cache-max|digest|exclude|head|keep|linger|log|max-.*|sha256|spool|window))$' $word
            set takes 1
        else if not string match -q -- '-*' $word; and test $at -gt 1; and test "$words[1]" = run
            return
        end
        printf '%s\n' $word
    end
end

# Whether all words so far are.
function __xget_is_own
    set -l words (commandline -opc)
    test (count (__xget_own)) = (math (count $words) - 1)
end

# -n and -p with what stands behind them, as they were typed.
function __xget_masters
    set -l takes 0
    for word in (__xget_own)
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

# What is typed of a word, as xget would get it.
function __xget_typed
    set -l typed (commandline -ct)
    string unescape -- $typed 2>/dev/null; or printf '%s\n' $typed
end

# The part of it before a name at the master, in a word of a command that is run.
function __xget_front
    __xget_typed | string match -rg -- '^((?:.*[=,])?(?:file|tar):)(?:[^,]|,,)*$'
end

# Remote names that begin with what is typed; of `file:NAME` behind that.
function __xget_remote
    set -l bare (__xget_typed)
    set -l masters (__xget_masters)
    if test (__xget_verb) = run 2>/dev/null
        set -l front (__xget_front); or return
        set -l typed (string sub -s (math (string length -- $front) + 1) -- $bare | string replace -a -- ,, ,)
        for name in (command xget ls --complete "$typed" $masters 2>/dev/null)
            printf '%s%s\n' $front (string replace -a -- , ,, $name)
        end
        return
    end
    command xget ls --complete "$bare" $masters 2>/dev/null
end

function __xget_options
    command xget (__xget_verb) --help 2>/dev/null | string match -ar -- '(?<=^|[ \[])--?[a-zA-Z][a-z-]*' | sort -u
end

complete -c xget -n '__xget_is ls find status' -f
complete -c xget -n '__xget_is run; and __xget_front >/dev/null' -f
complete -c xget -n '__xget_is ls find get run' -a '(__xget_remote)'
complete -c xget -n 'test -z (__xget_verb); and test -n "$(__xget_masters)"' -a '(__xget_remote)'
complete -c xget -n 'test (count (commandline -opc)) = 1' -a 'ls status get find run add'
complete -c xget -n 'string match -q -- "-*" (commandline -ct); and __xget_is_own' -a '(__xget_options)'
complete -c xget -s n -x -a '(__fish_print_hostnames)'
complete -c xget -s p -x
