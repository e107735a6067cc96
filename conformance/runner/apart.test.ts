import { spawn, spawnSync } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { availableParallelism, tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { expect, test } from 'vitest'

// What `make mutants` runs its tests in: a program that was changed at random must reach nothing of this machine.

const apart = resolve(import.meta.dirname, 'apart')
const setting = '/proc/sys/net/ipv4/ip_forward'
// A process number is none of its own: another build may have one like it, in a process namespace of its own.
const name = `podwire-apart-${randomUUID()}`
const link = `pw${name.slice(-12)}`

/** Where the cgroups of runs are, of either version. */
const tops = ['/sys/fs/cgroup', '/sys/fs/cgroup/pids']
const groups = () => tops.filter(existsSync).flatMap((top) => readdirSync(top))

const groupOf = (pid: number | undefined) => `podwire-apart-${pid}`

test('what runs apart changes files of its own directory alone, no setting, no link, no process of others', () => {
  const own = mkdtempSync(join(tmpdir(), 'apart-'))
  const stranger = spawnSync('sh', ['-c', 'sleep 60 >/dev/null 2>&1 & echo $!'], { encoding: 'utf8' }).stdout.trim()
  const [before, started] = [readFileSync(setting, 'utf8'), readFileSync(`/proc/${stranger}/stat`, 'utf8')]
  try {
    const places = ['/run', '/var/lib', '/etc', '/opt', tmpdir(), '/dev/shm', '/sys', '/']
    const script = `
      for place in ${places.join(' ')}; do { echo x >$place/${name}; } 2>/dev/null; done
      { echo $((1 - $(cat ${setting}))) >${setting}; } 2>/dev/null
      ip link add name ${link} type dummy 2>/dev/null
      kill ${stranger} 2>/dev/null
      echo made >made; echo made >$TMPDIR/made
      exit 7`
    const { status, stderr } = spawnSync(apart, ['bash', '-c', script], { cwd: own, encoding: 'utf8' })
    expect([status, stderr]).toEqual([7, ''])
    expect(readFileSync(join(own, 'made'), 'utf8')).toBe('made\n')
    expect(places.filter((place) => existsSync(join(place, name)))).toEqual([])
    expect(existsSync(join(tmpdir(), 'made'))).toBe(false)
    expect(readFileSync(setting, 'utf8')).toBe(before)
    expect(existsSync(`/sys/class/net/${link}`)).toBe(false)
    expect(readFileSync(`/proc/${stranger}/stat`, 'utf8').split(' ')[21]).toBe(started.split(' ')[21])
  } finally {
    process.kill(Number(stranger))
    rmSync(own, { recursive: true })
  }
})

/** How many processes a run has by its cgroup's own count; none before that is made, and behind its end. */
function countOf(pid: number | undefined): number {
  const [file] = tops.map((top) => join(top, groupOf(pid), 'pids.current')).filter((one) => existsSync(one))
  try {
    return file === undefined ? 0 : Number(readFileSync(file, 'utf8'))
  } catch (error) {
    // It may go between two looks; version 1 tells of a file that is open, and gone, by another number.
    expect((error as NodeJS.ErrnoException).code).toBeOneOf(['ENOENT', 'ENODEV'])
    return 0
  }
}

test('what runs apart starts no more processes than it may, and no longer than it may', async () => {
  const own = mkdtempSync(join(tmpdir(), 'apart-'))
  const environment = (seconds: number) => ({ ...process.env, APART_PROCESSES: '64', APART_SECONDS: `${seconds}` })
  const env = environment(3)
  try {
    // Each shell starts two more like itself: without bounds that is all of the machine within a second.
    writeFileSync(join(own, 'loop'), '#!/bin/sh\n./loop & ./loop &\nwait\nsleep 60\n', { mode: 0o755 })
    /** The most processes there were at once, of a run that is ended behind so many seconds. */
    const most = async (seconds: number) => {
      const begun = performance.now()
      const run = spawn(apart, ['./loop'], { cwd: own, env: environment(seconds), stdio: 'ignore' })
      let [count, isOver] = [0, false]
      const ended = once(run, 'exit').finally(() => {
        isOver = true
      })
      for (; !isOver; await delay(5)) count = Math.max(count, countOf(run.pid))
      expect(await ended).toEqual([137, null])
      expect(performance.now() - begun).toBeGreaterThan(seconds * 1000 - 500)
      expect(groups()).not.toContain(groupOf(run.pid))
      return count
    }
    const first = await most(3)
    // A busy machine may not have started so many within that.
    const count = first > 40 ? first : await most(40)
    expect(count).toBeGreaterThan(40)
    // One that is about to be refused is counted for a moment, by each processor.
    expect(count).toBeLessThanOrEqual(64 + availableParallelism())
    const asOther = ['--reuid=65534', '--clear-groups', 'bash', '-c', readFileSync(apart, 'utf8'), 'apart']
    const limit = spawnSync('setpriv', [...asOther, 'sh', '-c', 'ulimit -u'], { cwd: '/', env, encoding: 'utf8' })
    expect(Number(limit.stdout)).toBeLessThan(128)
    const endless = spawnSync('setpriv', [...asOther, 'sleep', '60'], { cwd: '/', env, timeout: 60_000 })
    expect(endless.status ?? endless.signal).toBe(137)
  } finally {
    rmSync(own, { recursive: true })
  }
})

test('a run that is ended leaves nothing running', async () => {
  const own = mkdtempSync(join(tmpdir(), 'apart-'))
  try {
    const run = spawn(apart, ['sh', '-c', 'echo ready; sleep 60'], { cwd: own, stdio: ['ignore', 'pipe', 'inherit'] })
    await once(run.stdout, 'data')
    expect(groups()).toContain(groupOf(run.pid))
    const ended = once(run, 'exit')
    run.kill('SIGTERM')
    await ended
    expect(groups()).not.toContain(groupOf(run.pid))
  } finally {
    rmSync(own, { recursive: true })
  }
})

test('where no namespaces can be made, root runs nothing, and another user is told', () => {
  const own = mkdtempSync(join(tmpdir(), 'apart-'))
  try {
    writeFileSync(join(own, 'unshare'), '#!/bin/sh\nexit 1\n', { mode: 0o755 })
    const env = { ...process.env, PATH: `${own}:${process.env.PATH}` }
    const asRoot = spawnSync(apart, ['touch', 'made'], { cwd: own, env, encoding: 'utf8' })
    expect([asRoot.status, asRoot.stderr]).toEqual([75, expect.stringContaining('be another user')])
    expect(existsSync(join(own, 'made'))).toBe(false)
    // The text and not the file, which lies where this user may not look.
    const other = ['--reuid=65534', '--clear-groups', 'bash', '-c', readFileSync(apart, 'utf8'), 'apart']
    const asOther = spawnSync('setpriv', [...other, 'sh', '-c', 'exit 7'], { cwd: '/', encoding: 'utf8' })
    expect([asOther.status, asOther.stderr]).toEqual([7, expect.stringContaining('not root')])
  } finally {
    rmSync(own, { recursive: true })
  }
})
