"""chkfs-completion - print what teaches bash and zsh to complete the commands"""

from chkfs import cli, errors

USAGE = 'chkfs-completion'
_NAMING = ('restore', 'log', 'ls', 'cat-object', 'ls-tree', 'checkout-tree', 'commit-snapshot', 'update-ref',
           'for-each-ref', 'rev-parse', 'rev-list')  # fmt: skip
# For chkfs itself, the scripts, and what takes names of snapshots.  Options are the ones that -h explains.
_SCRIPTS = r"""
_chkfs() {
    local program=$1 word=${COMP_WORDS[COMP_CWORD]} words='' i
    local -x CHKFS_STORE=$CHKFS_STORE
    for ((i = 1; i < COMP_CWORD; i++)); do
        case ${COMP_WORDS[i]} in
        --store)
            i=$((i + 1))
            [ "${COMP_WORDS[i]}" != = ] || i=$((i + 1))
            [ "$i" -lt "$COMP_CWORD" ] || { COMPREPLY=(); return; }
            CHKFS_STORE=${COMP_WORDS[i]} ;;
        -*) ;;
        *) [ "$program" != chkfs ] || program=chkfs-${COMP_WORDS[i]} ;;
        esac
    done
    case $program:$word in
    chkfs:-*) words='--store --help --version' ;;
    chkfs:* | chkfs-help:*) words="help $(compgen -c chkfs- | sed 's/^chkfs-//' | sort -u)" ;;
    *:-*)
        words=$("$program" -h 2>/dev/null | sed -n '/^  *-/{s/^ *//; s/  .*//; p;}' | grep -oE -- '(^| )--?[a-z-]+') ;;
    NAMING) words=$(chkfs-for-each-ref --format '%(short)' 2>/dev/null) ;;
    esac
    COMPREPLY=($(compgen -W "$words" -- "$word"))
}
complete -o default -F _chkfs chkfs chkfs-backup COMMANDS
""".replace('NAMING', ' | '.join(f'chkfs-{name}:*' for name in _NAMING)).replace(
    'COMMANDS', ' '.join(f'chkfs-{name}' for name in _NAMING)
)


def options(parser):
    pass


def run(args):
    try:
        import argcomplete
    except ImportError:
        raise errors.Error('completion needs argcomplete: pip install argcomplete') from None
    print(argcomplete.shellcode([f'chkfs-{name}' for name in cli.COMMANDS], complete_arguments=['-o', 'default']))
    print(_SCRIPTS)
    return errors.DONE
