# bash completion for xget: options, verbs, and the names that a master serves.
#
# The names come from `xget ls --complete`, which answers within 0.3 s or says nothing.
# Nothing that is typed, and no name that is served, is evaluated, neither here nor once the line
# is: whatever is put into it is quoted here. (`compopt -o filenames` would have readline do it,
# and that leaves `$` and backquotes of what is no local file as they are.)

# What is typed of a word, as xget would get it, and in which quotes; false where that takes a
# shell: parameters, or quotes that begin or end within it.
__xget_bare() {
    local text=$1
    quote='' bare=''
    case $text in
        \'*)
            quote="'" bare=${text:1}
            [[ $bare != *\'* ]]
            return
            ;;
        \"*)
            quote='"' bare=${text:1}
            [[ $bare != *[\"\\\`\$]* ]]
            return
            ;;
    esac
    while [[ $text == *\\* ]]; do
        [[ ${text%%\\*} == *[\'\"\`\$]* ]] && return 1
        bare+=${text%%\\*}
        text=${text#*\\}
        bare+=${text:0:1}
        text=${text:1}
    done
    bare+=$text
    [[ $text != *[\'\"\`\$]* ]]
}

# Puts $1 among what may be meant, as it is typed behind what readline has of the word already,
# or not at all where the quotes that are open cannot have it.
__xget_offer() {
    local text=$1 special at
    [[ $text == "$head"* ]] || return 0
    text=${text#"$head"}
    case $quote in
        \') [[ $text == *\'* ]] && return 0 ;;
        \") [[ $text == *[\"\\\`\$!]* ]] && return 0 ;;
        *)
            if [[ $text == *[!a-zA-Z0-9_./:,@%+-]* ]]; then
                # The backslash first: it quotes the others.
                special='\ !"#$&()*;<>?[]^`{|}~='"'"
                for ((at = 0; at < ${#special}; at++)); do
                    text=${text//"${special:at:1}"/"\\${special:at:1}"}
                done
            fi
            ;;
    esac
    COMPREPLY+=("$text")
}

# Words up to the cursor; what readline parts at colons, equals signs and `@` is one.
__xget_words() {
    local at word joins=0
    words=()
    for ((at = 0; at <= COMP_CWORD; at++)); do
        word=${COMP_WORDS[at]}
        if ((at > 1)) && { ((joins)) || [[ $word == [:=@]* ]]; }; then
            words[${#words[@]}-1]+=$word
        else
            words+=("$word")
        fi
        joins=0
        [[ $word == *[:=@] ]] && ((at < COMP_CWORD)) && joins=1
    done
}

# Remote names that begin with $1, each behind $2; with $3, commas are doubled.
__xget_remote() {
    local name
    while IFS= read -r name; do
        [[ $3 ]] && name=${name//,/,,}
        __xget_offer "$2$name"
    done < <(command xget ls --complete "$1" "${masters[@]}" 2>/dev/null)
}

__xget_local() {
    local name
    while IFS= read -r name; do
        [[ -d $name ]] && name+=/
        __xget_offer "$name"
    done < <(compgen -f -- "$1")
}

_xget() {
    local words quote bare cur verb='' at word paths=0 behind=0 head='' masters=()
    local verbs='ls status get find run add'
    local named='^((.*[=,])?(file|tar):)(([^,]|,,)*)$'
    COMPREPLY=()
    __xget_words
    for ((at = 1; at < ${#words[@]} - 1; at++)); do
        word=${words[at]}
        if ((behind)); then
            ((paths++))
            continue
        fi
        case $word in
            -n | -p) masters+=("$word" "${words[at+1]}") && ((at++)) ;;
            -n?* | -p?*) masters+=("$word") ;;
            --) behind=1 ;;
            -C | -D | -m | -r | --*-dest | --*-dir | --cache | --digest | --exclude | --head | \
                --keep | --linger | --log | --max-* | --cache-max | --sha256 | --spool | --user | --window)
                ((at++))
                ;;
            -*) ;;
            *)
                if ((at == 1)) && [[ " $verbs " == *" $word "* ]]; then
                    verb=$word
                else
                    ((paths++))
                    # What is behind it is the command's own.
                    [[ $verb == run ]] && behind=1
                fi
                ;;
        esac
    done
    cur=${words[${#words[@]}-1]}
    if [[ $cur == \~* ]] || ! __xget_bare "$cur"; then
        # Nothing that is served is called so; of the files here the shell knows.
        [[ $verb == ls || $verb == find || $verb == status ]] || compopt -o default 2>/dev/null
        return
    fi
    cur=$bare
    # readline has what stands before the last colon or equals sign already, or before a `@`.
    if [[ $cur == *[:=@]* ]]; then
        local whole=$quote
        __xget_bare "${COMP_WORDS[COMP_CWORD]}" || return
        quote=$whole
        [[ $bare == [:=] ]] && bare=''
        head=${cur%"$bare"}
    fi
    if ((!behind)); then
        case ${words[${#words[@]}-2]} in
            -n)
                mapfile -t COMPREPLY < <(compgen -A hostname -- "$cur")
                return
                ;;
            -C | --*-dest | --*-dir | --cache | --keep | --log | --spool)
                __xget_local "$cur"
                __xget_goes_on
                return
                ;;
        esac
        if [[ $cur == -* ]]; then
            mapfile -t COMPREPLY < <(compgen -W "$(__xget_options "$verb")" -- "$cur")
            return
        fi
    fi
    case $verb in
        ls | find) __xget_remote "$cur" '' ;;
        get) __xget_remote "$cur" '' && __xget_local "$cur" ;;
        run)
            if [[ $cur =~ $named ]]; then
                __xget_remote "${BASH_REMATCH[4]//,,/,}" "${BASH_REMATCH[1]}" commas
            else
                __xget_local "$cur"
            fi
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
    __xget_goes_on
}

# What is completed goes on below a directory.
__xget_goes_on() {
    if ((${#COMPREPLY[@]} == 1)) && [[ ${COMPREPLY[0]} == */ ]]; then
        compopt -o nospace 2>/dev/null
    fi
}

# The options of a verb, or of xget itself, as its help has them.
__xget_options() {
    local words
    words=$(command xget ${1:+"$1"} --help 2>/dev/null)
    [[ $words ]] && grep -oE '(^|[ [])--?[a-zA-Z][a-z-]*' <<<"$words" | tr -d ' [' | sort -u
}

complete -F _xget xget
