import { closeSync, mkdirSync, mkdtempSync, openSync, rmdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { writeObstacles } from './writable.js'

let root: string
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'writable-'))
})
afterEach(() => rmSync(root, { recursive: true }))

const obstacles = (...directories: string[]) => writeObstacles(directories.map((directory) => ({ directory })))

test('what is there, and what can be made below it, is no obstacle', () => {
  expect(obstacles(root, join(root, 'a/b/c'), '.', 'a/b')).toEqual([])
})

test('looking makes nothing', () => {
  obstacles(join(root, 'a/b'))
  expect(() => rmdirSync(join(root, 'a'))).toThrow('ENOENT')
})

test('a file, or a link to nowhere, in place of a directory is named by the path that is wanted', () => {
  writeFileSync(join(root, 'file'), '')
  symlinkSync(join(root, 'none'), join(root, 'link'))
  expect(obstacles(join(root, 'file/a/b'), join(root, 'link'))).toEqual([
    expect.stringMatching(/^\S+\/file\/a\/b: ENOTDIR: /),
    expect.stringMatching(/^\S+\/link: ENOENT: /),
  ])
})

test('a directory that was removed takes no files, though it can be opened', () => {
  mkdirSync(join(root, 'gone'))
  const fd = openSync(join(root, 'gone'), 'r')
  rmdirSync(join(root, 'gone'))
  expect(obstacles(`/proc/self/fd/${fd}`)).toEqual([expect.stringContaining('ENOENT')])
  closeSync(fd)
})

test('where the kernel only shows things no files can be kept', () => {
  expect(obstacles('/proc/sys/podwire')).toEqual([expect.stringMatching(/^\/proc\/sys\/podwire: (EPERM|EACCES)/)])
})

test('a disk must have room for all that is written, together', () => {
  const many = Number.MAX_SAFE_INTEGER / 4
  expect(writeObstacles([{ directory: root, files: many }])).toEqual([
    expect.stringContaining('ENOSPC: the file system'),
  ])
  const halves = [root, join(root, 'a')].map((directory) => ({ directory, files: 2 }))
  expect(writeObstacles(halves)).toEqual([])
})
