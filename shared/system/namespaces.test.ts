import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, renameSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createRunner } from '../exec/run.js'
import { runTogether } from '../exec/together.js'
import { namespaceAt, namespaceFile, openNamespace } from './namespaces.js'

const directory = mkdtempSync(`${tmpdir()}/podwire-`)
const trace = `${directory}/trace`
const run = createRunner()
const traced = createRunner({ trace: { file: trace, warn: (text) => expect.fail(text) } })
const own = '/proc/self/ns/net'
const inode = String(statSync(own).ino)
let paths = 0

/** A path that leads to our own namespace, opened, and then turned to nothing. */
function turned(): string {
  const path = `${directory}/netns${paths++}`
  symlinkSync(own, path)
  expect(namespaceAt(path)).toBeGreaterThan(2)
  symlinkSync('/nowhere', `${path}.new`)
  renameSync(`${path}.new`, path)
  return path
}

/** Stands for nsenter and ip: what namespace a path leads to is what a test without privileges can ask. */
const inodeOf = `${directory}/inode-of`

beforeAll(() => {
  writeFileSync(inodeOf, '#!/bin/sh\nstat -L -c "%i %n" $(echo "$@" | sed s/--net=//g)\n', { mode: 0o755 })
})
afterAll(() => rmSync(directory, { recursive: true }))

test('a path stands for the namespace that was there first', () => {
  const path = turned()
  expect(statSync(`/proc/self/fd/${namespaceAt(path)}`).ino).toBe(Number(inode))
  expect(() => statSync(path)).toThrow('ENOENT')
  expect(statSync(namespaceFile(path)).ino).toBe(Number(inode))
  expect(namespaceFile(`${path}2`)).toBe(`${path}2`)
})

test('nothing is nothing until something is there, and what is no namespace is never opened', () => {
  expect(openNamespace(`${directory}/none`)).toBeUndefined()
  expect(spawnSync('mkfifo', [`${directory}/fifo`]).status).toBe(0)
  symlinkSync('/proc/self/fd', `${directory}/folder`)
  // A socket cannot even be opened.
  const server = createServer().listen(`${directory}/socket`)
  for (const path of ['/etc/passwd', `${directory}/fifo`, '/dev/null', `${directory}/socket`]) {
    expect(openNamespace(path)).toEqual({ magic: expect.any(Number) })
    expect(namespaceAt(path)).toBeUndefined()
  }
  server.close()
})

describe('a tool gets the open file,', () => {
  test('in its words', () => {
    expect(run({ argv: [inodeOf, `--net=${turned()}`] }).stdout).toBe(`${inode} /proc/self/fd/3\n`)
  })

  test('in its words, whose path nobody asked for before', () => {
    const path = `${directory}/new`
    symlinkSync(own, path)
    expect(run({ argv: ['echo', `--net=${path}`] }).stdout).toBe('--net=/proc/self/fd/3\n')
  })

  test('in its input, and nowhere else', () => {
    const path = turned()
    const stdin = `link add a netns ${path}\nlink add b netns ${path} type veth\nlink add netns ${path}2\n# ${path}\n`
    const { stdout } = run({ argv: ['cat'], stdin })
    const file = '/proc/self/fd/3'
    expect(stdout).toBe(
      `link add a netns ${file}\nlink add b netns ${file} type veth\nlink add netns ${path}2\n# ${path}\n`,
    )
    expect(run({ argv: ['sh', '-c', `stat -L -c %i ${file}`], stdin }).stdout).toBe(`${inode}\n`)
  })

  test('of two namespaces each its own, behind its pipes and descriptors', () => {
    const [one, two] = [turned(), turned()]
    const script = `cat <&3; ${inodeOf} "$@"`
    const argv = ['sh', '-c', script, 'sh', `--net=${one}`, `--net=${two}`] as const
    const { stdout } = run({ argv, pipes: [`netns of ${one}\n`] })
    expect(stdout).toBe(`netns of ${one}\n${inode} /proc/self/fd/4\n${inode} /proc/self/fd/5\n`)
  })

  test('of several in one shell', () => {
    const path = turned()
    const part = { argv: ['sh', '-c', `cat >&2; ${inodeOf} "$1" >&2`, 'sh', `--net=${path}`] } as const
    const outcomes = runTogether(run, [1, 2, 3].map((index) => ({ ...part, stdin: `${index}\n` })) as never, false)
    expect(outcomes.map((one) => one?.stderr)).toEqual(['1', '2', '3'].map((index) => `${index}\n${inode} ${path}\n`))
  })

  test('and speaks of the path, as the trace does', () => {
    const path = turned()
    const script = 'echo "cannot enter $1" >&2; exit 3'
    const argv = ['sh', '-c', script, 'sh', `--net=${path}`] as const
    expect(traced({ argv })).toMatchObject({ status: 3, stderr: `cannot enter --net=${path}\n` })
    expect(readFileSync(trace, 'utf8')).toContain(`--net=${path}`)
    expect(readFileSync(trace, 'utf8')).not.toContain('/proc/self/fd')
  })
})

test('another plugin gets its words and its input as they are', () => {
  const path = turned()
  const stdin = `{" netns ${path} ": 1}`
  expect(run({ argv: ['cat'], stdin, env: { PATH: '/usr/bin:/bin' } }).stdout).toBe(stdin)
})
