package postgres

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/puddle/v2"

	"github.com/kneo-go/kneo/internal/store"
)

// SQLSTATE codes and classes that have a meaning here.
const (
	codeUniqueViolation  = "23505"
	codeReadOnly         = "25006"
	codeUndefinedTable   = "42P01"
	codeSerialization    = "40001"
	codeDeadlock         = "40P01"
	codeLockNotAvailable = "55P03"
	codeQueryCanceled    = "57014"
)

// unavailableClasses: connection, authorization, missing database, insufficient resources, operator intervention, system error.
var unavailableClasses = []string{"08", "28", "3D", "53", "57", "58", "XX"}

// failure gives errors of the driver and the server the sentinels of the port; others pass unchanged.
func failure(err error) error {
	if err == nil || errors.Is(err, store.ErrUnavailable) {
		return err
	}
	if errors.Is(err, pgx.ErrNoRows) {
		return fmt.Errorf("%w: %w", store.ErrNotFound, err)
	}
	var refused *pgconn.PgError
	if errors.As(err, &refused) {
		return refusal(refused, err)
	}
	if lost(err) {
		return fmt.Errorf("%w: %w", store.ErrUnavailable, err)
	}
	return err
}

func refusal(refused *pgconn.PgError, err error) error {
	switch refused.Code {
	case codeUniqueViolation:
		return fmt.Errorf("%w: %w", store.ErrConflict, err)
	case codeQueryCanceled, codeReadOnly, codeUndefinedTable, codeSerialization, codeDeadlock, codeLockNotAvailable:
		return fmt.Errorf("%w: %w", store.ErrUnavailable, err)
	}
	for _, class := range unavailableClasses {
		if strings.HasPrefix(refused.Code, class) {
			return fmt.Errorf("%w: %w", store.ErrUnavailable, err)
		}
	}
	return err
}

// lost reports whether the connection failed or none could be had.
func lost(err error) bool {
	if errors.Is(err, puddle.ErrClosedPool) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) {
		return true
	}
	var connect *pgconn.ConnectError
	var network net.Error
	if errors.As(err, &connect) {
		return true
	}
	// The end of the caller's own context is also a network error; it is the caller's to handle.
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return false
	}
	return errors.As(err, &network) || pgconn.SafeToRetry(err) || strings.Contains(err.Error(), "conn closed")
}

// unreachable marks errors of a transaction that runs in the store's own context, where a passed deadline is the database's fault.
func unreachable(err error) error {
	var refused *pgconn.PgError
	if err == nil || errors.As(err, &refused) || errors.Is(err, store.ErrUnavailable) {
		return err
	}
	if lost(err) || errors.Is(err, context.DeadlineExceeded) || pgconn.Timeout(err) {
		return fmt.Errorf("%w: %w", store.ErrUnavailable, err)
	}
	return err
}

// transient reports whether a transaction lost only against another one.
func transient(err error) bool {
	var refused *pgconn.PgError
	if !errors.As(err, &refused) {
		return false
	}
	return refused.Code == codeDeadlock || refused.Code == codeSerialization
}
