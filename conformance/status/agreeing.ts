import { describe, expect } from 'vitest'
import { test } from '../harness/fixture.js'
import { uninstall } from '../harness/uninstall.js'
import { answer, observed, stage, works } from './agreement.js'
import type { Row } from './rows.js'

// STATUS is held to ADD: 50 where it cannot work, with the reason, and 0 where it can.

export function agreeWithEverything(rows: readonly Row[]): void {
  describe('with all that ADD needs STATUS answers 0, says nothing and changes nothing', () => {
    test.for(rows)('$name', async (row, { host }) => {
      const staged = await stage(host, row)
      const before = await observed(host)
      expect(await answer(staged)).toBe('available')
      expect(await observed(host)).toBe(before)
      expect(await works(staged)).toBe(true)
      expect(await answer(staged)).toBe('available')
    })
  })
}

/** Every program that some plugin starts. */
const programs = ['ip', 'tc', 'bridge', 'nft', 'nsenter', 'unshare', 'iptables-save', 'iptables-restore', 'arping']

export function agreeWithoutPrograms(rows: readonly Row[]): void {
  test.for(rows)('without any program that it does not need: $name', async (row, { host }) => {
    const staged = await stage(host, row)
    const needed = [...(row.programs ?? []), ...(row.later ?? [])]
    await uninstall(host, ...programs.filter((program) => !needed.includes(program)))
    expect(await answer(staged)).toBe('available')
    expect(await works(staged)).toBe(true)
  })

  const cells = (key: 'programs' | 'later') =>
    rows.flatMap((row) => (row[key] ?? []).map((program) => ({ ...row, program })))
  test.for(cells('programs'))('without $program, which it starts: $name', async ({ program, ...row }, { host }) => {
    const staged = await stage(host, row)
    await uninstall(host, program)
    expect(await answer(staged)).toContain(program)
    expect(await works(staged)).toBe(false)
  })

  test.for(cells('later'))('without $program, which its DEL starts: $name', async ({ program, ...row }, { host }) => {
    const staged = await stage(host, row)
    await uninstall(host, program)
    expect(await answer(staged)).toContain(program)
  })
}

const obstacles: Record<string, { make: (directory: string) => string; says: string }> = {
  'read-only': {
    make: (directory) => `mkdir -p ${directory} && mount -t tmpfs -o ro tmpfs ${directory}`,
    says: 'EROFS',
  },
  'without a free page': {
    make: (directory) =>
      `mkdir -p ${directory} && mount -t tmpfs -o size=4k tmpfs ${directory} && echo full >${directory}/full`,
    says: 'ENOSPC',
  },
  'without a free inode': {
    make: (directory) => `mkdir -p ${directory} && mount -t tmpfs -o nr_inodes=1 tmpfs ${directory}`,
    says: 'ENOSPC',
  },
  'that is a file': { make: (directory) => `mkdir -p $(dirname ${directory}) && echo >${directory}`, says: 'ENOTDIR' },
  'that is a link to nowhere': {
    make: (directory) => `mkdir -p $(dirname ${directory}) && ln -s /nowhere/at/all ${directory}`,
    says: 'ENOENT',
  },
  'whose parents cannot be written': {
    make: (directory) => {
      const above = directory.slice(0, directory.lastIndexOf('/'))
      return `mkdir -p ${above} && mount --bind ${above} ${above} && mount -o remount,bind,ro ${above}`
    },
    says: 'EROFS',
  },
}

export function agreeWithObstacles(rows: readonly Row[]): void {
  const cells = rows.flatMap((row) =>
    (row.writes ?? []).flatMap((directory) =>
      Object.keys(obstacles).map((obstacle) => ({ ...row, directory, obstacle })),
    ),
  )
  test.for(cells)('with $directory $obstacle: $name', async ({ directory, obstacle, ...row }, { host }) => {
    // A plugin in front may have made it already.
    const staged = await stage(host, row)
    await host.output(['rm', '-rf', directory])
    const { make, says } = obstacles[obstacle] as (typeof obstacles)[string]
    await host.output(['sh', '-ec', make(directory)])
    const said = await answer(staged)
    expect(said).toContain(says)
    expect(said).toContain(directory)
    expect(await works(staged)).toBe(false)
  })
}
