"""chkfs-completion - print what teaches bash and zsh to complete the commands"""

from chkfs import cli, errors

USAGE = 'chkfs-completion'
# The options of a script are the ones that its -h explains; its other words are commands, snapshots and files.
_SCRIPTS = r"""
_chkfs() {
    local program=$1 word=${COMP_WORDS[COMP_CWORD]} words
    if [ "$program" = chkfs ] && [ "$COMP_CWORD" -eq 1 ]; then
        words="help $(compgen -c chkfs- | sed 's/^chkfs-//' | sort -u)"
    else
        [ "$program" != chkfs ] || program=chkfs-${COMP_WORDS[1]}
        case $word in
        -*) words=$("$program" -h 2>/dev/null | sed -n '/^  *-/{s/^ *//; s/  .*//; p;}' |
                grep -oE -- '(^| )--?[a-z-]+') ;;
        *) words=$(chkfs-for-each-ref --format '%(short)' 2>/dev/null) ;;
        esac
    fi
    COMPREPLY=($(compgen -W "$words" -- "$word"))
}
complete -o default -F _chkfs chkfs chkfs-backup chkfs-restore chkfs-log chkfs-ls
"""


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
