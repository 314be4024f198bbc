# bash completion for xget: options, verbs, and the names that a master serves.
#
# The names come from `xget ls --complete`, which answers within 0.3 s or says nothing.
# Nothing that is typed, and no name that is served, is evaluated.

# What is typed of a word, as xget would get it: without quotes.
__xget_bare() {
    local text=$1 quote=''
    case $text in
        \'*) quote="'" text=${text#\'} ;;
        \"*) quote='"' text=${text#\"} ;;
    esac
    if [[ $quote == "'" ]]; then
        bare=$text
        return
    fi
    bare=''
    while [[ $text == *\\* ]]; do
        bare+=${text%%\\*}
        text=${text#*\\}
        bare+=${text:0:1}
        text=${text:1}
    done
    bare+=$text
}

# Words up to the cursor; what readline parts at colons and equals signs is one.
__xget_words() {
    local at word joins=0
    words=()
    for ((at = 0; at <= COMP_CWORD; at++)); do
        word=${COMP_WORDS[at]}
        if ((at > 1)) && { ((joins)) || [[ $word == [:=]* ]]; }; then
            words[${#words[@]}-1]+=$word
        else
            words+=("$word")
        fi
        joins=0
        [[ $word == *[:=] ]] && ((at < COMP_CWORD)) && joins=1
    done
}

# Remote names that begin with $1, each behind $2.
__xget_remote() {
    local name
    while IFS= read -r name; do
        COMPREPLY+=("$2$name")
    done < <(command xget ls --complete "$1" "${masters[@]}" 2>/dev/null)
}

__xget_local() {
    local name
    while IFS= read -r name; do
        COMPREPLY+=("$name")
    done < <(compgen -f -- "$1")
}

_xget() {
    local words bare cur verb='' at word paths=0 behind=0 head='' masters=()
    local verbs='ls status get find run add'
    COMPREPLY=()
    __xget_words
    __xget_bare "${words[${#words[@]}-1]}"
    cur=$bare
    for ((at = 1; at < ${#words[@]} - 1; at++)); do
        word=${words[at]}
        case $word in
            -n | -p) masters+=("$word" "${words[at+1]}") && ((at++)) ;;
            -n?* | -p?*) masters+=("$word") ;;
            --) behind=1 ;;
            -C | -D | -m | -r | --*-dest | --*-dir | --cache | --digest | --exclude | --head | \
                --keep | --linger | --log | --max-* | --sha256 | --spool | --window) ((at++)) ;;
            -*) ;;
            *)
                if ((at == 1)) && [[ " $verbs " == *" $word "* ]]; then
                    verb=$word
                else
                    ((paths++))
                fi
                ;;
        esac
    done
    case ${words[${#words[@]}-2]} in
        -n)
            mapfile -t COMPREPLY < <(compgen -A hostname -- "$cur")
            return
            ;;
        -C | --*-dest | --*-dir | --cache | --keep | --log | --spool)
            compopt -o filenames 2>/dev/null
            __xget_local "$cur"
            return
            ;;
    esac
    if [[ $cur == -* ]] && ((!behind)); then
        mapfile -t COMPREPLY < <(compgen -W "$(__xget_options "$verb")" -- "$cur")
        return
    fi
    compopt -o filenames 2>/dev/null
    case $verb in
        ls | find) __xget_remote "$cur" '' ;;
        get) __xget_remote "$cur" '' && __xget_local "$cur" ;;
        run)
            case $cur in
                file:* | tar:*) __xget_remote "${cur#*:}" "${cur%%:*}:" ;;
                *) __xget_local "$cur" ;;
            esac
            ;;
        status) ;;
        add) ((paths)) && __xget_local "$cur" ;;
        *)
            if ((${#masters[@]})); then
                __xget_remote "$cur" ''
            elif ((${#words[@]} == 2)); then
                mapfile -t COMPREPLY < <(compgen -W "$verbs" -- "$cur")
            fi
            if ((paths || !${#masters[@]})); then
                __xget_local "$cur"
            fi
            ;;
    esac
    # What is completed goes on below a directory.
    if ((${#COMPREPLY[@]} == 1)) && [[ ${COMPREPLY[0]} == */ ]]; then
        compopt -o nospace 2>/dev/null
    fi
    # readline has what stands before the last colon or equals sign already.
    word=${COMP_WORDS[COMP_CWORD]}
    if [[ $cur == *[:=]* ]]; then
        __xget_bare "$word"
        [[ $bare == [:=] ]] && bare=''
        head=${cur%"$bare"}
        for at in "${!COMPREPLY[@]}"; do
            COMPREPLY[at]=${COMPREPLY[at]#"$head"}
        done
    fi
}

# The options of a verb, or of xget itself, as its help has them.
__xget_options() {
    local words
    words=$(command xget ${1:+"$1"} --help 2>/dev/null)
    [[ $words ]] && grep -oE '(^|[ [])--?[a-zA-Z][a-z-]*' <<<"$words" | tr -d ' [' | sort -u
}

complete -F _xget xget
