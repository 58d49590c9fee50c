# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=sh
# Goes before each guest script: runs steps and prints the markers that
# tests/guest/lib.sh reads.  The shell is busybox.
tag=share

# step NAME: runs the function do_NAME, whose first failing command fails it.
step()
{
    echo "@@ begin $1"
    (
        set -ex
        "do_$1"
    )
    # "if ( ... )" would switch set -e off inside.
    # shellcheck disable=SC2181
    if [ $? -eq 0 ]; then
        echo "@@ ok $1"
    else
        echo "@@ not ok $1"
    fi
}

# refuse COMMAND...: must fail.  set -e overlooks a command behind a "!".
refuse()
{
    if "$@"; then
        echo "should have failed: $*"
        return 1
    fi
}

note()
{
    echo "@@ note $*"
}
