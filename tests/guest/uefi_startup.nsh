@echo -off
# SPDX-License-Identifier: BSD-3-Clause
# Which boot this is shows in what the boots before left on the share.
fs0:
cd \
if exist boot3.txt then
  echo "@@ note boot 4"
  echo "boot 4" > boot4.txt
  cp -q copy3.bin copy4.bin
  reset -s
endif
if exist boot2.txt then
  echo "@@ note boot 3"
  echo "boot 3" > boot3.txt
  cp -q copy.bin copy3.bin
  reset -w
endif
if exist boot1.txt then
  echo "@@ note boot 2"
  echo "boot 2" > boot2.txt
  reset
endif
echo "@@ note boot 1"
type host.txt
echo "plain" >a plain.txt
cp -q data.bin copy.bin
cp -q data.bin rename.bin
mv rename.bin renamed.bin
mkdir newdir
cp -q dir\file.txt newdir\file.txt
rm -q remove.txt
ls
echo "@@ ok files"
echo "boot 1" > boot1.txt
reset
