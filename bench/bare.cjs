require('node:fs').writeSync(1, '{"cniVersion":"1.1.0"}\n')
process.reallyExit(0)
