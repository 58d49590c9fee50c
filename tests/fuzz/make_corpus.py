#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Write the seeds of the fuzz targets: make_corpus.py [DIRECTORY]

The inputs are what real peers send, and those that have ended other daemons,
by name.  What a fuzzer found is kept beside them and not touched.  The formats
are told at the head of each fuzz_*.c.
"""

import seeds_control
import seeds_guest

seeds_control.control()
seeds_control.channels()
seeds_guest.chains()
seeds_guest.validate()
seeds_guest.sessions()
seeds_guest.devices()
