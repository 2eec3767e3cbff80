# Runs a server, and stops it when standard input closes: sh -c SCRIPT guard DIRECTORY COMMAND...
# The task holds the other end of that pipe, so that the server also stops when the task is killed. DIRECTORY has the
# server's log and a file with its exit status. The script removes DIRECTORY at the end.
directory=$1
shift
cd "$directory" || exit
# The shell gives background jobs an empty standard input, so keep a copy of this one.
exec 3<&0
"$@" <&3 >log 2>&1 &
server=$!
{
    cat <&3
    if ! [ -e ended ]; then
        kill "$server"
        for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30; do
            [ -e ended ] && break
            sleep 0.1
        done
        [ -e ended ] || kill -KILL "$server"
    fi
} >/dev/null 2>&1 &
watcher=$!
wait "$server"
# Rename the complete file, so that no reader sees a part of it.
echo "exit status $?" >ended.new
mv ended.new ended
wait "$watcher"
rm -rf "$directory"
