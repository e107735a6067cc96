import { rmSync, writeFileSync } from 'node:fs'
import type { Host } from '../harness/host.js'

// A tool is slow before it begins and after it has ended, where a file says how slow, or stands before its beginning as
// long as another is there.
const wrapper = `#!/bin/sh
here=\${0%/*}
name=\${0##*/}
for folder in /usr/sbin /usr/bin /sbin /bin; do [ -x $folder/$name ] && real=$folder/$name; done
if [ -e /run/slow/stop.$name ]; then
  : >/run/slow/stands
  for turn in $(seq 1000); do [ -e /run/slow/stop.$name ] && sleep 0.1; done
fi
[ -e /run/slow/pause ] || exec "$real" "$@"
pause=$(cat /run/slow/pause)
sleep $pause
"$real" "$@"
status=$?
sleep $pause
exit $status
`

const tools = ['nft', 'iptables-restore', 'ip6tables-restore', 'ip', 'bridge', 'nsenter', 'tc']

/** Stands before the tools of a host, where every plugin looks for them first. */
export async function slowable(host: Host) {
  await host.output(['mkdir', '/run/slow'])
  await host.output(['mount', '-t', 'tmpfs', 'tmpfs', '/usr/local/sbin'])
  for (const tool of tools) {
    await host.output(['tee', `/usr/local/sbin/${tool}`], { stdin: wrapper })
    await host.output(['chmod', '+x', `/usr/local/sbin/${tool}`])
  }
  const put = (name: string, text = '') => writeFileSync(host.path(`/run/slow/${name}`), text)
  const take = (name: string) => rmSync(host.path(`/run/slow/${name}`), { force: true })
  return {
    /** Seconds before and after; none: as quick as ever. */
    pause: (seconds?: number) => (seconds === undefined ? take('pause') : put('pause', `${seconds}\n`)),
    /**
     * From now on this tool stands, for 100 seconds at the most, until it may go on; `stands` is a file that is there
     * when one does.
     */
    stop: (tool: string) => put(`stop.${tool}`),
    goOn: (tool: string) => {
      take(`stop.${tool}`)
      take('stands')
    },
    stands: host.path('/run/slow/stands'),
  }
}
