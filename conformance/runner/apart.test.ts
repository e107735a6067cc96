import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { expect, test } from 'vitest'

// What `make mutants` runs its tests in: a program that was changed at random must reach nothing of this machine.

const apart = resolve(import.meta.dirname, 'apart')
const setting = '/proc/sys/net/ipv4/ip_forward'
const name = `podwire-apart-${process.pid}`

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
