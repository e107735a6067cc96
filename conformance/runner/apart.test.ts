import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { expect, test } from 'vitest'

// What `make mutants` runs its tests in: a program that was changed at random must reach nothing of this machine.

const apart = resolve(import.meta.dirname, 'apart')
const setting = '/proc/sys/net/ipv4/ip_forward'
const name = `podwire-apart-${process.pid}`

/** The cgroups of runs, of either version. */
const groups = () => ['/sys/fs/cgroup', '/sys/fs/cgroup/pids'].filter(existsSync).flatMap((top) => readdirSync(top))

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
      ip link add name pw${process.pid % 10_000} type dummy 2>/dev/null
      kill ${stranger} 2>/dev/null
      echo made >made; echo made >$TMPDIR/made
      exit 7`
    const { status, stderr } = spawnSync(apart, ['bash', '-c', script], { cwd: own, encoding: 'utf8' })
    expect([status, stderr]).toEqual([7, ''])
    expect(readFileSync(join(own, 'made'), 'utf8')).toBe('made\n')
    expect(places.filter((place) => existsSync(join(place, name)))).toEqual([])
    expect(existsSync(join(tmpdir(), 'made'))).toBe(false)
    expect(readFileSync(setting, 'utf8')).toBe(before)
    expect(existsSync(`/sys/class/net/pw${process.pid % 10_000}`)).toBe(false)
    expect(readFileSync(`/proc/${stranger}/stat`, 'utf8').split(' ')[21]).toBe(started.split(' ')[21])
  } finally {
    process.kill(Number(stranger))
    rmSync(own, { recursive: true })
  }
})

test('what runs apart starts no more processes than it may, and no longer than it may', () => {
  const own = mkdtempSync(join(tmpdir(), 'apart-'))
  const env = { ...process.env, APART_PROCESSES: '64', APART_SECONDS: '3' }
  try {
    // Each shell starts two more like itself: without bounds that is all of the machine within a second.
    const loop = '#!/bin/sh\nset -- /proc/[0-9]*\necho $# >>counts\n./loop & ./loop &\nwait\nsleep 60\n'
    writeFileSync(join(own, 'loop'), loop, { mode: 0o755 })
    const begun = performance.now()
    const { pid, signal, status } = spawnSync(apart, ['./loop'], { cwd: own, env, timeout: 60_000 })
    expect([signal, status]).toEqual([null, 137])
    expect(performance.now() - begun).toBeGreaterThan(2500)
    const counts = readFileSync(join(own, 'counts'), 'utf8').trim().split('\n').map(Number)
    expect(Math.max(...counts)).toBeGreaterThan(40)
    // Those that ended while it was counted are in the count, too.
    expect(Math.max(...counts)).toBeLessThan(96)
    expect(groups()).not.toContain(groupOf(pid))
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
