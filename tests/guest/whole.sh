# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
#
# What the host makes of that which git and sqlite have left in a share.

# git_is_whole DIR
git_is_whole()
{
    git -c safe.directory='*' -C "$1" fsck --full --strict &&
        [ -z "$(git -c safe.directory='*' -C "$1" status --porcelain)" ]
}

# database_is_whole FILE: what transactions() of guest_programs.sh filled.
database_is_whole()
{
    [ "$(sqlite3 "$1" 'pragma integrity_check;')" = ok ] &&
        [ "$(sqlite3 "$1" 'select n >= 100 and
            n = (select count(*) from t) from total;')" = 1 ]
}
