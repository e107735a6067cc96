import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { Ended, wrong } from '../frame/command.js'
import type { Place } from '../frame/place.js'
import { inRoot } from '../frame/place.js'

// The units of systemd that run `podwire gc` every hour.

const folder = '/etc/systemd/system'
const unit = 'podwire-gc'

/** The text of each unit, by its path. @param program the path of this program */
export function units(program: string): ReadonlyMap<string, string> {
  return new Map([
    [
      `${folder}/${unit}.service`,
      [
        '[Unit]',
        'Description=Remove what dead containers left in the network',
        'Documentation=man:podwire-gc(1)',
        '',
        '[Service]',
        'Type=oneshot',
        `ExecStart=${program.replaceAll('%', '%%')} gc`,
        'SuccessExitStatus=0 1',
        '',
      ].join('\n'),
    ],
    [
      `${folder}/${unit}.timer`,
      [
        '[Unit]',
        'Description=Remove what dead containers left in the network, every hour',
        '',
        '[Timer]',
        'OnBootSec=15min',
        'OnUnitActiveSec=1h',
        'RandomizedDelaySec=5min',
        '',
        '[Install]',
        'WantedBy=timers.target',
        '',
      ].join('\n'),
    ],
  ])
}

/** Writes the units and starts the timer, unless the root is an image: there they are enabled for its first start. */
export function installTimer(place: Place): void {
  if (/[\s"'\\]/.test(process.execPath)) throw new Ended(wrong, `systemd cannot start ${process.execPath}: rename it`)
  for (const [file, text] of units(process.execPath)) {
    const real = inRoot(place, file)
    mkdirSync(path.dirname(real), { recursive: true })
    writeFileSync(real, text)
  }
  if (place.isHost) systemctl(['daemon-reload'], ['enable', '--now', `${unit}.timer`])
  else systemctl([`--root=${place.root}`, 'enable', `${unit}.timer`])
}

/** @returns the files that are gone */
export function removeTimer(place: Place, isDryRun = false): readonly string[] {
  const there = [...units('').keys()].filter((file) => existsSync(inRoot(place, file)))
  if (there.length === 0 || isDryRun) return there
  if (place.isHost) systemctl(['disable', '--now', `${unit}.timer`])
  else systemctl([`--root=${place.root}`, 'disable', `${unit}.timer`])
  for (const file of there) rmSync(inRoot(place, file), { force: true })
  if (place.isHost) systemctl(['daemon-reload'])
  return there
}

// --- internal

function systemctl(...calls: readonly (readonly string[])[]): void {
  for (const words of calls) {
    const { status, stderr, error } = spawnSync('systemctl', words, { encoding: 'utf8' })
    if (status === 0) continue
    const why = error ? error.message : stderr.trim()
    throw new Ended(wrong, `systemctl ${words.join(' ')} failed: ${why}`)
  }
}
